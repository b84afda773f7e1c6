"""`Turns.routes()`: the protocol's routes below any path of an application, several agents in one."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace
from starlette.applications import Starlette
from starlette.routing import Mount

from hostedagent import HeaderScopeResolver
from hostedagent.embed import Turns
from hostedagent.testing import ScriptedAgent, serve

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Receive, Scope, Send

WHO = HeaderScopeResolver(header="x-user")


def application(writer: Turns, editor: Turns) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            for turns in (writer, editor):
                await stack.enter_async_context(turns)
            yield

    mounts = [
        Mount("/agents/writer", writer.routes(resolve_scope=WHO)),
        Mount("/agents/editor", editor.routes(resolve_scope=WHO)),
    ]
    return Starlette(routes=mounts, lifespan=lifespan)


async def test_several_agents_are_served_below_their_paths_and_keep_to_themselves() -> None:
    app = application(Turns(ScriptedAgent(["one"])), Turns(ScriptedAgent(["two"])))
    async with serve(app) as client:
        ada, grace = {"x-user": "ada"}, {"x-user": "grace"}
        first = (await client.post("/agents/writer/responses", json={"input": "hi"}, headers=ada)).json()
        streamed = await client.post("/agents/editor/responses/", json={"input": "hi", "stream": True}, headers=ada)
        path = f"/responses/{first['id']}"
        statuses = [
            (await client.get(f"/agents/writer{path}", headers=ada)).status,
            (await client.get(f"/agents/writer{path}", headers=grace)).status,
            (await client.get(f"/agents/editor{path}", headers=ada)).status,
            (await client.post("/agents/writer/responses", json={"input": "hi"})).status,
        ]

    assert first["output"][0]["content"][0]["text"] == "one"
    assert streamed.log().text == "two"
    assert statuses == [200, 404, 404, 401]


async def test_a_front_end_finds_the_model_and_the_routes_below_a_mount() -> None:
    async with serve(application(Turns(ScriptedAgent()), Turns(ScriptedAgent()))) as client:
        models = (await client.get("/agents/writer/v1/models", headers={"x-user": "ada"})).json()
        described = (await client.get("/agents/writer/openapi.json")).json()

    assert [model["id"] for model in models["data"]] == ["scripted"]
    assert described["servers"] == [{"url": "/agents/writer"}]
    assert {"/responses", "/conversations", "/chat/completions", "/models", "/openapi.json"} <= set(described["paths"])


async def test_an_unknown_route_below_a_mount_is_refused_in_json() -> None:
    async with serve(application(Turns(ScriptedAgent()), Turns(ScriptedAgent()))) as client:
        reply = await client.get("/agents/writer/nothing", headers={"x-user": "ada"})

    assert reply.status == 404
    assert reply.json()["error"]["type"] == "invalid_request_error"


async def test_the_trace_of_a_caller_ends_with_its_request_for_the_application_around_it() -> None:
    app = application(Turns(ScriptedAgent(["one"])), Turns(ScriptedAgent()))
    seen: list[bool] = []

    async def around(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)
        if scope["type"] == "http":
            seen.append(trace.get_current_span().get_span_context().is_valid)

    headers = {"x-user": "ada", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    async with serve(around) as client:
        reply = await client.post("/agents/writer/responses", json={"input": "hi"}, headers=headers)

    assert (reply.status, seen) == (200, [False])
