"""Steering inputs of a response that waits for its client: any request that continues it takes them over."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

import pytest

from hostedagent import AgentHost, HostOptions, sqlite_stores
from hostedagent.testing import Gate, InProcessClient, ScriptedAgent, serve
from tests.host.sockets import Socket, connecting
from tests.host.steered import CALL
from tests.host.test_steer_route import ended

Way: TypeAlias = Literal["http", "socket"]

TOOLS: list[Any] = [{"type": "function", "name": CALL.name, "parameters": {"type": "object", "properties": {}}}]
OUTPUT: list[Any] = [{"type": "function_call_output", "call_id": "c1", "output": "yes"}]


async def steered(way: Way, client: InProcessClient, socket: Socket, gate: Gate, *inputs: str) -> str:
    """A response that waits for the result of a call, and for which inputs are pending."""
    if way == "http":
        made = await client.post("/responses", json={"input": "Weather?", "background": True, "tools": TOOLS})
        first = made.json()["id"]
    else:
        socket.create("Weather?", tools=TOOLS)
        first = (await socket.until("response.created"))["response"]["id"]
    await gate.reached()
    for text in inputs:
        socket.send({"type": "response.steer", "previous_response_id": first, "input": text})
        await socket.until("response.steer.accepted")
    gate.open()
    for _ in inputs:
        await socket.until("response.steer.pending")
    return first


async def continued(way: Way, client: InProcessClient, socket: Socket, first: str) -> dict[str, Any]:
    if way == "socket":
        return await socket.turn(OUTPUT, previous_response_id=first, tools=TOOLS)
    return (
        await client.post("/responses", json={"input": OUTPUT, "previous_response_id": first, "tools": TOOLS})
    ).json()


@pytest.mark.parametrize("runs", ["http", "socket"])
@pytest.mark.parametrize("continues", ["http", "socket", "another socket"])
async def test_pending_inputs_are_taken_over_by_any_request_that_continues_the_response(
    runs: Way, continues: str
) -> None:
    gate = Gate()
    agent = ScriptedAgent([gate, CALL], ["done"], ["later"])
    app = AgentHost(agent, driver="starlette").app
    async with serve(app) as client, connecting(app) as other:
        async with connecting(app) as socket:
            first = await steered(runs, client, socket, gate, "b", "c")
            if continues != "another socket":
                await continued("http" if continues == "http" else "socket", client, socket, first)
        if continues == "another socket":
            await continued("socket", client, other, first)
        await continued("socket", client, other, first)

    assert [message.text for message in agent.calls[1].messages if message.role == "user"] == ["Weather?", "b", "c"]
    assert [message.text for message in agent.calls[2].messages if message.role == "user"] == ["Weather?"]


async def test_inputs_of_a_socket_and_of_http_wait_for_the_same_request() -> None:
    gate = Gate()
    agent = ScriptedAgent([gate, CALL], ["done"])
    app = AgentHost(agent, driver="starlette").app
    async with serve(app) as client, connecting(app) as socket, connecting(app) as other:
        socket.create("Weather?", tools=TOOLS)
        first = (await socket.until("response.created"))["response"]["id"]
        await gate.reached()
        for one, text in ((socket, "b"), (other, "c")):
            one.send({"type": "response.steer", "previous_response_id": first, "input": text})
            await one.until("response.steer.accepted")
        gate.open()
        for one in (socket, other):
            await one.until("response.steer.pending")
        await continued("http", client, socket, first)

    texts = [message.text for message in agent.calls[1].messages if message.role == "user"]
    assert texts[0] == "Weather?" and sorted(texts[1:]) == ["b", "c"]


async def test_a_queued_turn_takes_pending_inputs_over(tmp_path: Path) -> None:
    gate, full = Gate(), Gate()
    agent = ScriptedAgent([gate, CALL], [full], ["done"])
    options = HostOptions(max_turns=1, max_queued=5, resilient_background=True)
    app = AgentHost(agent, driver="starlette", options=options, stores=sqlite_stores(tmp_path / "state.db")).app
    async with serve(app) as client, connecting(app) as socket:
        first = await steered("http", client, socket, gate, "b")
        await client.post("/responses", json={"input": "Something else.", "background": True})
        await full.reached()
        body: dict[str, Any] = {"input": OUTPUT, "previous_response_id": first, "tools": TOOLS, "background": True}
        queued = (await client.post("/responses", json=body)).json()
        full.open()
        last = await ended(client, queued["id"])

    assert (queued["status"], last["status"]) == ("queued", "completed")
    assert [message.text for message in agent.calls[2].messages if message.role == "user"] == ["Weather?", "b"]


async def test_inputs_of_a_response_that_is_not_stored_wait_on_its_connection() -> None:
    gate = Gate()
    agent = ScriptedAgent([gate, CALL], ["done"])
    host = AgentHost(agent, driver="starlette")
    async with serve(host.app), connecting(host.app) as socket:
        socket.create("Weather?", tools=TOOLS, store=False)
        first = (await socket.until("response.created"))["response"]["id"]
        await gate.reached()
        socket.send({"type": "response.steer", "previous_response_id": first, "input": "b"})
        await socket.until("response.steer.accepted")
        gate.open()
        await socket.until("response.steer.pending")
        await socket.turn(OUTPUT, previous_response_id=first, tools=TOOLS, store=False)

    assert [message.text for message in agent.calls[1].messages if message.role == "user"] == ["Weather?", "b"]
