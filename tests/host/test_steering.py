"""`response.steer`: new input for a response that runs, taken over by the response after it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agent_framework import Agent, tool
from inline_snapshot import snapshot

from hostedagent import AgentHost, HostOptions
from hostedagent.server import steering
from hostedagent.testing import Gate, OfflineChatClient, ScriptedAgent, serve
from tests.host.approving import answer, call
from tests.host.sockets import Socket, connecting
from tests.host.steered import CALL, RESULT, until_steered


@asynccontextmanager
async def socket_to(agent: Any) -> AsyncGenerator[Socket]:
    app = AgentHost(agent, driver="starlette", options=HostOptions(own_tools="function_call")).app
    async with serve(app), connecting(app) as socket:
        yield socket


async def begun(socket: Socket, text: str = "Weather?", **fields: Any) -> str:
    socket.create(text, **fields)
    return (await socket.until("response.created"))["response"]["id"]


def steer(socket: Socket, response_id: str, given: Any = "Never mind.", **more: Any) -> None:
    socket.send({"type": "response.steer", "previous_response_id": response_id, "input": given, **more})


def line(event: dict[str, Any]) -> str:
    """An event on one line: what a transcript shows of it."""
    response: dict[str, Any] = event.get("response", {})
    details: dict[str, Any] = response.get("incomplete_details") or {}
    item: dict[str, Any] = event.get("item", {})
    words = (event["type"], response.get("status"), details.get("reason"), event.get("delta"), item.get("type"))
    return " ".join(str(word) for word in words if word)


async def test_a_steered_response_ends_behind_its_step_and_the_next_takes_over_the_input() -> None:
    agent = ScriptedAgent(["Looking.", CALL, until_steered, RESULT, "never"], ["Then not."])
    async with socket_to(agent) as socket:
        first = await begun(socket)
        steer(socket, first)
        events: list[dict[str, Any]] = []
        while sum(event["type"] == "response.completed" for event in events) < 1:
            events.append(await socket.event())
        successor = events[-1]["response"]
        third = await socket.turn("And now?", previous_response_id=successor["id"], generate=False)

    assert [line(event) for event in events if not event["type"].startswith("response.content_part")] == snapshot(
        [
            "response.in_progress in_progress",
            "response.steer.accepted",
            "response.output_item.added message",
            "response.output_text.delta Looking.",
            "response.output_text.done",
            "response.output_item.done message",
            "response.output_item.added function_call",
            "response.function_call_arguments.delta {}",
            "response.function_call_arguments.done",
            "response.output_item.done function_call",
            "response.output_item.added function_call_output",
            "response.output_item.done function_call_output",
            "response.incomplete incomplete steered",
            "response.created in_progress",
            "response.in_progress in_progress",
            "response.output_item.added message",
            "response.output_text.delta Then not.",
            "response.output_text.done",
            "response.output_item.done message",
            "response.completed completed",
        ]
    )
    accepted = next(event for event in events if event["type"] == "response.steer.accepted")
    assert accepted["steer"] == {"id": accepted["steer"]["id"], "previous_response_id": first}
    assert successor["previous_response_id"] == first and third["status"] == "completed"
    contents = [content.type for message in agent.calls[1].messages for content in message.contents]
    assert contents == ["text", "text", "function_call", "function_result", "text"]
    assert agent.calls[1].text == "Never mind."


@pytest.mark.parametrize("store", [True, False])
async def test_a_response_without_a_step_is_completed_first_and_inputs_keep_their_order(store: bool) -> None:
    gate = Gate()
    agent = ScriptedAgent(["one", gate], ["two"])
    async with socket_to(agent) as socket:
        first = await begun(socket, "a", store=store, stream_id="x")
        await gate.reached()
        steer(socket, first, "b")
        steer(socket, first, [{"role": "user", "content": [{"type": "input_text", "text": "c"}]}])
        accepted = [await socket.until("response.steer.accepted") for _ in range(2)]
        gate.open()
        completed = await socket.until("response.completed")
        successor = await socket.until("response.completed")

    assert completed["response"]["id"] == first
    assert successor["response"]["previous_response_id"] == first
    assert {event["stream_id"] for event in (*accepted, completed, successor)} == {"x"}
    assert [message.text for message in agent.calls[1].messages] == ["a", "one", "b", "c"]


async def test_input_for_a_response_that_waits_for_its_client_stays_with_the_server() -> None:
    gate = Gate()
    ran: list[str] = []

    @tool(approval_mode="always_require")
    async def pay(to: str) -> str:
        """Pay somebody."""
        ran.append(to)
        return "paid"

    model = OfflineChatClient(script=[[call("c1", "pay", to="ada")], "Paid."])
    agent = Agent(model, tools=[pay])

    async def factory() -> Agent[Any]:
        if not model.calls:
            await gate.wait()
        return agent

    async with socket_to(factory) as socket:
        first = await begun(socket, "Pay Ada.")
        await gate.reached()
        steer(socket, first, "And thank her.")
        await socket.until("response.steer.accepted")
        gate.open()
        asked = (await socket.until("response.completed"))["response"]
        pending = await socket.event()
        question = asked["output"][-1]
        paid = await socket.turn([answer(question)], previous_response_id=first)

    assert pending["type"] == "response.steer.pending" and pending["reason"] == "waiting_for_required_input"
    assert pending["required_input"] == [{"type": "mcp_approval_response", "approval_request_id": question["id"]}]
    assert ran == ["ada"] and paid["status"] == "completed"
    assert any("And thank her." in said for said in model.calls[-1].transcript)


async def test_input_that_cannot_be_taken_over_is_returned() -> None:
    gate = Gate()
    async with socket_to(ScriptedAgent(["one", gate])) as socket:
        first = await begun(socket, "a", conversation="c1")
        await gate.reached()
        cases = {
            "steering_not_supported": (first, "b"),
            "response_not_found": (f"caresp_{'0' * 50}", "b"),
            "invalid_input": (first, [{"role": "system", "content": "b"}]),
        }
        failures: dict[str, dict[str, Any]] = {}
        for code, (response_id, given) in cases.items():
            steer(socket, response_id, given)
            failures[code] = await socket.until("response.steer.failed")
        gate.open()
        await socket.until("response.completed")
        await socket.turn("b", generate=False)  # The turn before it has been dealt with.
        steer(socket, first)
        failures["response_already_completed"] = await socket.until("response.steer.failed")

    for code, event in failures.items():
        assert event["error"]["code"] == code and event["error"]["message"]
        assert "id" not in event["steer"]
    assert failures["response_not_found"]["steer"]["input"] == "b"


async def test_input_for_a_response_that_fails_is_returned_with_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steering, "MAX_STEERS", 1)
    gate = Gate()
    async with socket_to(ScriptedAgent(["one", gate, RuntimeError()])) as socket:
        first = await begun(socket, "a")
        await gate.reached()
        steer(socket, first, "b")
        accepted = await socket.until("response.steer.accepted")
        steer(socket, first, "c")
        full = await socket.until("response.steer.failed")
        gate.open()
        await socket.until("response.failed")
        failed = await socket.event()

    assert full["error"]["code"] == "too_many_pending_steers"
    assert failed["error"]["code"] == "response_not_active"
    assert failed["steer"] == {**accepted["steer"], "input": "b"}


async def test_a_field_that_steering_does_not_have_is_refused() -> None:
    gate = Gate()
    async with socket_to(ScriptedAgent(["one", gate])) as socket:
        first = await begun(socket, "a")
        await gate.reached()
        steer(socket, first, stream_id="x")
        failed = await socket.until("response.steer.failed")
        gate.open()
        await socket.until("response.completed")

    assert failed["error"]["code"] == "invalid_input" and "stream_id" in failed["error"]["message"]


async def test_an_input_on_the_socket_joins_those_over_http() -> None:
    gate = Gate()
    agent = ScriptedAgent(["Looking.", gate], ["Then not."], ["never"])
    app = AgentHost(agent, driver="starlette").app
    async with serve(app) as client, connecting(app) as socket:
        first = await begun(socket)
        over_http = (await client.post(f"/responses/{first}/steer", json={"input": "Over HTTP."})).json()
        steer(socket, first, "On the socket.")
        on_socket = await socket.until("response.steer.accepted")
        gate.open()
        await socket.until("response.completed")
        successor = over_http["successor"]["id"]
        while (found := await client.get(f"/responses/{successor}")).status == 404 or found.json()[
            "status"
        ] == "in_progress":
            pass

    assert on_socket["successor"]["id"] == successor
    assert [message.text for message in agent.calls[1].messages[-2:]] == ["Over HTTP.", "On the socket."]
    assert len(agent.calls) == 2
