# pyright: basic, reportMissingImports=false
"""`agent-framework-hosting-responses` in a Starlette app on uvicorn, as its documentation shows it.

It streams text events only, keeps sessions and no responses, and has no deletion, cancellation, replay or ownership.
"""

from __future__ import annotations

import settings
import uvicorn
from agent_framework import FileSessionStore, SessionStore
from agent_framework_hosting import AgentState
from agent_framework_hosting_responses import (
    create_response_id,
    responses_from_run,
    responses_from_streaming_run,
    responses_session_id,
    responses_to_run,
)
from model import agent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

sessions = FileSessionStore(settings.ROOT) if settings.STORE == "file" else SessionStore()
state = AgentState(agent(), session_store=sessions)


async def respond(request: Request) -> Response:
    body = await request.json()
    run = responses_to_run(body)
    earlier, is_conversation = responses_session_id(body)
    response_id = create_response_id()
    session = await state.get_or_create_session(earlier or response_id)
    kept_as = earlier if is_conversation and earlier else response_id
    served = await state.get_target()
    if body.get("stream"):
        stream = served.run(run["messages"], session=session, stream=True)

        async def events():
            async for event in responses_from_streaming_run(stream, response_id=response_id):
                yield event
            if body.get("store", True):
                await state.set_session(kept_as, session)

        return StreamingResponse(events(), media_type="text/event-stream")
    result = await served.run(run["messages"], session=session)
    if body.get("store", True):
        await state.set_session(kept_as, session)
    return JSONResponse(responses_from_run(result, response_id=response_id))


async def readiness(_: Request) -> Response:
    return JSONResponse({"status": "healthy"})


app = Starlette(routes=[Route("/responses", respond, methods=["POST"]), Route("/readiness", readiness)])

if __name__ == "__main__":
    uvicorn.run(app, host=settings.HOST, port=settings.PORT, log_level="warning", access_log=False)
