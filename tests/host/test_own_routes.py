"""An application's own routes beside the host's: whatever their paths, they pass untouched."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from hostedagent import AgentHost
from hostedagent.testing import InProcessClient, ScriptedAgent, serve

RESPONSE: dict[str, Any] = {"object": "response", "status": "completed", "output": [], "id": "survey_1"}
FRAME = b'event: response.created\ndata: {"type": "response.created", "response": {"id": "survey_1"}}\n\n'
BODIES = {
    "ndjson": ("application/json", b'{"object": "response", "output": []}\n{"a": 1}\n'),
    "empty": ("application/json", b""),
    "a response": ("application/json", json.dumps(RESPONSE).encode()),
    "events": ("text/event-stream", FRAME),
}
PATHS = ("/survey/responses", "/responses-archive", "/survey/responses/caresp_1", "/x/responses/")


def app_with(body: str, path: str, prefix: str = "") -> InProcessClient:
    kind, content = BODIES[body]

    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind)

    app = AgentHost(ScriptedAgent(["hi"]), prefix=prefix).app
    app.router.routes.insert(0, Route(path, answer))
    return InProcessClient(app)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", BODIES)
async def test_an_answer_of_the_application_is_sent_byte_for_byte(body: str, path: str) -> None:
    reply = await app_with(body, path).get(path)

    assert (reply.status, reply.body) == (200, BODIES[body][1])


async def test_a_route_at_the_root_is_the_applications_where_the_host_has_a_prefix() -> None:
    reply = await app_with("a response", "/responses", prefix="/agents/writer").get("/responses")

    assert reply.body == BODIES["a response"][1]


async def test_streamed_json_of_the_application_is_not_collected() -> None:
    async def parts() -> AsyncIterator[bytes]:
        for n in range(3):
            yield f'{{"n": {n}}}\n'.encode()

    async def answer(request: Request) -> Response:
        return StreamingResponse(parts(), media_type="application/json")

    app = AgentHost(ScriptedAgent(["hi"])).app
    app.router.routes.insert(0, Route("/survey/responses", answer))
    exchange = InProcessClient(app).send("GET", "/survey/responses", b"", [])
    await exchange.start()

    assert [chunk async for chunk in exchange.chunks()] == [f'{{"n": {n}}}\n'.encode() for n in range(3)]


async def test_the_hosts_own_routes_are_completed_beside_it() -> None:
    async def answer(request: Request) -> Response:
        return JSONResponse(RESPONSE)

    app = AgentHost(ScriptedAgent(["hi"])).app
    app.router.routes.insert(0, Route("/survey/responses", answer))
    async with serve(app) as client:
        own = (await client.post("/responses", json={"input": "hi"})).json()
        survey = (await client.get("/survey/responses")).json()

    assert own["truncation"] == "disabled" and survey == RESPONSE
