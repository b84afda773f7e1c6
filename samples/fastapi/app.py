"""A FastAPI application with agents in it: its own routes, its own authentication, streaming, two agents."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import uvicorn
from agent_framework import Agent, tool
from fastapi import Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from hostedagent import IsolationKeys, Scope
from hostedagent.embed import RequestError, Turn, Turns
from hostedagent.errors import Unauthenticated
from hostedagent.testing import OfflineChatClient

USERS = {"key-of-ada": "ada", "key-of-grace": "grace"}
"""A real application asks its identity provider."""


@tool
def get_weather(city: Literal["Oslo", "Lisbon"]) -> str:
    """Get the weather of a city."""
    return {"Oslo": "snow, -3 degrees", "Lisbon": "sun, 24 degrees"}[city]


guide = Turns(Agent(OfflineChatClient(), name="guide", tools=[get_weather]))
critic = Turns(Agent(OfflineChatClient(), name="critic"))


def user_of(authorization: Annotated[str, Header()] = "") -> str:
    """The user of a request. An error here is answered with 401 by the handler below."""
    if (user := USERS.get(authorization.removeprefix("Bearer "))) is None:
        raise Unauthenticated("Send one of this application's keys as a bearer token.")
    return user


User = Annotated[str, Depends(user_of)]


async def begin_turn(request: Request, user: User) -> AsyncGenerator[Turn]:
    """Accepts a turn before the response begins; FastAPI leaves the block after its last byte."""
    async with guide.begin(await request.body(), user) as turn:
        yield turn


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with guide, critic:
        yield


app = FastAPI(lifespan=lifespan)


@app.exception_handler(RequestError)
async def refuse(request: Request, error: RequestError) -> JSONResponse:
    return JSONResponse(error.body(), error.status)


@app.post("/guide/responses", response_model=None)
async def create(turn: Annotated[Turn, Depends(begin_turn)]) -> Response | dict[str, Any]:
    if turn.request.stream:
        return StreamingResponse(turn.sse(), media_type="text/event-stream")
    return await turn.response()


@app.get("/guide/responses/{response_id}")
async def retrieve(response_id: str, user: User) -> dict[str, Any]:
    return await guide.retrieve(response_id, user)


@app.post("/guide/responses/{response_id}/cancel")
async def cancel(response_id: str, user: User) -> dict[str, Any]:
    return await guide.cancel(response_id, user)


def scope_of_key(headers: Mapping[str, str]) -> tuple[IsolationKeys, Scope]:
    """Whose request it is, for routes that the application does not write itself."""
    user = user_of(headers.get("authorization", ""))
    return IsolationKeys(user), Scope(f"user:{user}")


app.mount("/critic", critic.routes(resolve_scope=scope_of_key))

if __name__ == "__main__":
    uvicorn.run(app, port=8088)
