"""WebSocket mode on the own routes: turns one after the other, in lanes, with and without storage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agent_framework import Agent

from hostedagent import AgentHost, HeaderScopeResolver, HostOptions
from hostedagent.server import websocket
from hostedagent.testing import Gate, InProcessClient, OfflineChatClient, ScriptedAgent, serve
from tests.host.sockets import Socket, connecting


@asynccontextmanager
async def socket_to(agent: ScriptedAgent, **given: Any) -> AsyncGenerator[tuple[Socket, InProcessClient]]:
    app = AgentHost(agent, driver="starlette", **given).app
    async with serve(app) as client, connecting(app) as socket:
        yield socket, client


def text_of(response: dict[str, Any]) -> str:
    return response["output"][-1]["content"][0]["text"]


async def test_the_events_of_a_turn_are_those_of_a_stream() -> None:
    async with socket_to(ScriptedAgent(["Hel", "lo."], ["Hel", "lo."])) as (socket, client):
        log = (await client.post("/responses", json={"input": "hi", "stream": True})).log()
        socket.create("hi")
        events = [await socket.event() for _ in log.events]

    assert [event["type"] for event in events] == [event["type"] for event in log.events]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert "stream_id" not in events[0]


async def test_a_chain_continues_on_the_connection_and_over_http() -> None:
    agent = ScriptedAgent(["one"], ["two"], ["three"])
    async with socket_to(agent) as (socket, client):
        first = await socket.turn("a")
        second = await socket.turn("b", previous_response_id=first["id"])
        stored = (await client.get(f"/responses/{second['id']}")).json()
        third = await client.post("/responses", json={"input": "c", "previous_response_id": second["id"]})

    assert second["previous_response_id"] == first["id"]
    assert stored == second
    assert text_of(third.json()) == "three"
    assert [message.text for message in agent.calls[2].messages] == ["a", "one", "b", "two", "c"]


async def test_messages_wait_for_the_turns_before_them() -> None:
    gate = Gate()
    agent = ScriptedAgent(["one", gate], ["two"])
    async with socket_to(agent) as (socket, _):
        socket.create("a")
        socket.create("b")
        await gate.reached()
        assert len(agent.calls) == 1
        gate.open()
        first = (await socket.until("response.completed"))["response"]
        created = await socket.event()
        second = (await socket.until("response.completed"))["response"]

    assert created["type"] == "response.created" and created["sequence_number"] == 0
    assert (text_of(first), text_of(second)) == ("one", "two")


async def test_lanes_run_side_by_side_and_name_their_events() -> None:
    gate = Gate()
    async with socket_to(ScriptedAgent(["one", gate], ["two"])) as (socket, _):
        socket.create("a", stream_id="left")
        await gate.reached()
        socket.create("b", stream_id="right")
        first = await socket.until("response.completed")
        gate.open()
        last = await socket.until("response.completed")

    assert (first["stream_id"], text_of(first["response"])) == ("right", "two")
    assert (last["stream_id"], text_of(last["response"])) == ("left", "one")


async def test_a_turn_without_storage_is_continued_on_its_connection_only() -> None:
    agent = ScriptedAgent(["one"], ["two"], ["three"])
    app = AgentHost(agent, driver="starlette").app
    async with serve(app) as client:
        async with connecting(app) as socket:
            first = await socket.turn("a", store=False)
            second = await socket.turn("b", store=False, previous_response_id=first["id"])
            third = await socket.turn("c", store=False, previous_response_id=second["id"])
            forgotten = await socket.turn("d", store=False, previous_response_id=first["id"])
        async with connecting(app) as again:
            lost = await again.turn("d", store=False, previous_response_id=third["id"])
        stored = await client.get(f"/responses/{third['id']}")

    assert [message.text for message in agent.calls[2].messages] == ["a", "one", "b", "two", "c"]
    assert second["previous_response_id"] == first["id"] and third["previous_response_id"] == second["id"]
    for refused in (forgotten, lost):
        assert (refused["status"], refused["error"]["code"]) == (400, "previous_response_not_found")
        assert refused["error"]["param"] == "previous_response_id"
    assert stored.status == 404


async def test_a_failed_turn_is_not_continued_from_memory() -> None:
    agent = ScriptedAgent(["one"], [RuntimeError("secret")], ["three"])
    async with socket_to(agent) as (socket, _):
        first = await socket.turn("a", store=False)
        failed = await socket.turn("b", store=False, previous_response_id=first["id"])
        refused = await socket.turn("c", store=False, previous_response_id=first["id"])

    assert failed["status"] == "failed"
    assert refused["error"]["code"] == "previous_response_not_found"


@pytest.mark.parametrize("store", [True, False])
async def test_a_warm_up_keeps_its_input_and_runs_nothing(store: bool) -> None:
    agent = ScriptedAgent(["one"])
    async with socket_to(agent) as (socket, _):
        warm = await socket.turn("a", generate=False, store=store)
        assert agent.calls == []
        response = await socket.turn("b", previous_response_id=warm["id"], store=store)

    assert (warm["status"], warm["output"]) == ("completed", [])
    assert text_of(response) == "one"
    assert [message.text for message in agent.calls[0].messages] == ["a", "b"]


async def test_a_warm_up_that_could_keep_nothing_fails() -> None:
    async with socket_to(ScriptedAgent(), options=HostOptions(history="session")) as (socket, _):
        warm = await socket.turn("a", generate=False)

    assert warm["status"] == "failed"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("{", None),
        ("[]", None),
        (b'{"type": "response.create"}', "input"),
        ('{"type": "response.delete"}', "type"),
        ('{"type": "response.create", "input": "a", "background": true}', "background"),
        ('{"type": "response.create", "input": "a", "stream": false}', "stream"),
        ('{"type": "response.create", "input": "a", "generate": 1}', "generate"),
        ('{"type": "response.create", "input": "a", "stream_id": ""}', "stream_id"),
        ('{"type": "response.create", "input": "a", "temperature": 99}', "temperature"),
    ],
)
async def test_a_bad_message_is_refused_and_the_connection_goes_on(message: str | bytes, param: str | None) -> None:
    async with socket_to(ScriptedAgent(["one"])) as (socket, _):
        socket.send(message)
        refused = await socket.event()
        response = await socket.turn("a")

    assert (refused["type"], refused["status"]) == ("error", 400)
    assert refused["error"]["param"] == param and refused["error"]["message"]
    assert text_of(response) == "one"


async def test_a_message_beyond_the_limit_is_refused() -> None:
    async with socket_to(ScriptedAgent(), options=HostOptions(max_body_bytes=100)) as (socket, _):
        socket.create("a" * 200)
        refused = await socket.event()

    assert refused["status"] == 413


async def test_lanes_and_waiting_messages_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "MAX_LANES", 1)
    monkeypatch.setattr(websocket, "MAX_WAITING", 1)
    gate = Gate()
    async with socket_to(ScriptedAgent(["one", gate], ["two"])) as (socket, _):
        socket.create("a", stream_id="x")
        await gate.reached()
        for lane in ("x", "x", "y"):
            socket.create("b", stream_id=lane)
        refused = [await socket.until("error") for _ in range(2)]
        gate.open()
        await socket.until("response.completed")

    assert [(one["status"], one.get("stream_id")) for one in refused] == [(429, "x"), (400, None)]


async def test_a_busy_conversation_and_a_full_host_are_refused_as_over_http() -> None:
    gate = Gate()
    agent = ScriptedAgent(["one", gate])
    async with socket_to(agent, options=HostOptions(max_turns=2)) as (socket, _):
        socket.create("a", conversation="c1", stream_id="1")
        await gate.reached()
        socket.create("b", conversation="c1", stream_id="2")
        busy = await socket.until("error")
        gate.open()
        await socket.until("response.completed")

    assert busy["status"] == 409


async def test_a_client_that_leaves_stops_its_turn() -> None:
    gate = Gate()
    agent = ScriptedAgent(["one", gate])
    app = AgentHost(agent, driver="starlette").app
    async with serve(app) as client:
        async with connecting(app) as socket:
            socket.create("a")
            created = await socket.until("response.created")
            await gate.reached()
        left = (await client.get(f"/responses/{created['response']['id']}")).json()

    assert (left["status"], left["output"]) == ("cancelled", [])


async def test_whose_connection_it_is_decides_the_handshake() -> None:
    who = HeaderScopeResolver(header="x-user")
    app = AgentHost(ScriptedAgent(["one"]), driver="starlette", resolve_scope=who).app
    async with serve(app):
        async with connecting(app) as nobody:
            assert nobody.status == 401
        async with connecting(app, x_user="ada") as ada:
            first = await ada.turn("a")
        async with connecting(app, x_user="grace") as grace:
            foreign = await grace.turn("b", previous_response_id=first["id"])

    assert foreign["error"]["code"] == "previous_response_not_found"


async def test_a_page_of_another_host_is_refused() -> None:
    app = AgentHost(ScriptedAgent(["one"]), driver="starlette").app
    async with serve(app):
        async with connecting(app, origin="https://elsewhere.example") as foreign:
            assert foreign.status == 403
        async with connecting(app, origin="http://host") as own:
            assert text_of(await own.turn("a")) == "one"


async def test_a_connection_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "MAX_SECONDS", 0)
    async with socket_to(ScriptedAgent()) as (socket, _):
        event = await socket.event()
        await asyncio.wait({socket.task})

    assert event["error"]["code"] == "websocket_connection_limit_reached"


@pytest.mark.parametrize("path", ["/responses", "/v1/responses"])
async def test_aliases_are_served_too(path: str) -> None:
    app = AgentHost(ScriptedAgent(["one"]), driver="starlette").app
    async with serve(app), connecting(app, path) as socket:
        assert text_of(await socket.turn("a")) == "one"


async def test_a_chain_without_storage_is_compacted_on_its_connection() -> None:
    model = OfflineChatClient(script=["One.", "Summary.", "Two.", "Three."])
    app = AgentHost(Agent(model), driver="starlette").app
    async with serve(app), connecting(app) as socket:
        first = await socket.turn("First.", store=False)
        managed = [{"type": "compaction", "compact_threshold": 1}]
        chained: dict[str, Any] = {"store": False, "previous_response_id": first["id"]}
        second = await socket.turn("Second.", context_management=managed, **chained)
        await socket.turn("Third.", store=False, previous_response_id=second["id"])

    assert [item["type"] for item in second["output"]] == ["compaction", "message"]
    kept = ["assistant: Summary.", "user: Second.", "assistant: Two.", "user: Third."]
    assert model.calls[-1].transcript == kept
