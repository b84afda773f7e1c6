"""`HostOptions(when_busy=...)`: what a request does whose conversation has a turn already."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from inline_snapshot import snapshot

from hostedagent import AgentHost, HostOptions
from hostedagent.engine import busy
from hostedagent.errors import ConfigurationError
from hostedagent.host import Driver
from hostedagent.options import WhenBusy
from hostedagent.testing import EventLog, Gate, InProcessClient, ScriptedAgent, serve
from tests.host.steered import CALL, RESULT, until_steered
from tests.host.world import begun


@asynccontextmanager
async def hosting(
    agent: ScriptedAgent, when_busy: WhenBusy, driver: Driver = "starlette", **given: Any
) -> AsyncGenerator[InProcessClient]:
    options = HostOptions(when_busy=when_busy, **given)
    async with serve(AgentHost(agent, driver=driver, options=options).app) as client:
        yield client


async def turn(client: InProcessClient, text: str) -> EventLog:
    reply = await client.post("/responses", json={"input": text, "conversation": "c1", "stream": True})
    assert reply.status == 200, reply.text
    return reply.log()


def begin(client: InProcessClient, text: str) -> asyncio.Task[EventLog]:
    return asyncio.create_task(turn(client, text))


async def until_waiting(count: int, seen: list[int]) -> None:
    """Let the loop run until so many requests wait."""
    while True:
        if len(seen) >= count:
            return
        await asyncio.sleep(0)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each request that begins to wait for a conversation."""
    seen: list[int] = []

    class Line(deque[asyncio.Event]):
        def append(self, x: asyncio.Event, /) -> None:
            super().append(x)
            seen.append(1)

    monkeypatch.setattr(busy, "deque", Line)
    return seen


@pytest.mark.parametrize("driver", ["starlette", "agentserver"])
async def test_a_queued_turn_begins_when_the_one_before_it_has_ended(driver: Driver, waiting: list[int]) -> None:
    gate = Gate()
    agent = ScriptedAgent(["one", gate], ["two"])
    async with hosting(agent, "queue", driver) as client:
        first = begin(client, "a")
        await gate.reached()
        second = begin(client, "b")
        await until_waiting(1, waiting)
        assert len(agent.calls) == 1
        gate.open()
        await first
        queued = (await second).lines()

    assert queued == snapshot(
        [
            "0 created in_progress",
            "1 in_progress",
            "2 item+ 0 message",
            "3 part+ 0.0 output_text",
            '4 text 0.0 "two"',
            '5 text= 0.0 "two"',
            "6 part- 0.0 output_text",
            "7 item- 0 message completed",
            "8 completed",
        ]
    )
    assert [message.text for message in agent.calls[1].messages] == ["a", "one", "b"]


async def test_requests_are_served_in_their_order_and_one_that_left_is_skipped(waiting: list[int]) -> None:
    gate = Gate()
    agent = ScriptedAgent(["one", gate], ["two"], ["three"])
    async with hosting(agent, "queue") as client:
        first = begin(client, "a")
        await gate.reached()
        tasks: list[asyncio.Task[EventLog]] = []
        leaving = None
        for n, text in enumerate(("b", "left", "c"), 1):
            if text == "left":
                body = b'{"input": "left", "conversation": "c1"}'
                leaving = client.send("POST", "/responses", body, [(b"content-type", b"application/json")])
            else:
                tasks.append(begin(client, text))
            await until_waiting(n, waiting)
        assert leaving is not None
        leaving.disconnect()
        gate.open()
        await first
        for task in tasks:
            await task

    assert [call.text for call in agent.calls] == ["a", "b", "c"]


async def test_one_request_more_than_may_wait_is_refused(monkeypatch: pytest.MonkeyPatch, waiting: list[int]) -> None:
    monkeypatch.setattr(busy, "MAX_QUEUED", 1)
    gate = Gate()
    async with hosting(ScriptedAgent(["one", gate], ["two"]), "queue") as client:
        first = begin(client, "a")
        await gate.reached()
        second = begin(client, "b")
        await until_waiting(1, waiting)
        refused = await client.post("/responses", json={"input": "c", "conversation": "c1"})
        gate.open()
        await first
        await second

    assert refused.status == 429 and refused.headers["retry-after"] == "1"


async def test_an_interrupted_turn_is_cancelled_and_leaves_nothing_to_the_next() -> None:
    gate = Gate()
    agent = ScriptedAgent(["one", gate, "never"], ["two"])
    async with hosting(agent, "interrupt") as client:
        first = begin(client, "a")
        await gate.reached()
        second = await turn(client, "b")
        interrupted = await first

    assert interrupted.lines() == snapshot(
        [
            "0 created in_progress",
            "1 in_progress",
            "2 item+ 0 message",
            "3 part+ 0.0 output_text",
            '4 text 0.0 "one"',
            '5 text= 0.0 "one"',
            "6 part- 0.0 output_text",
            "7 item- 0 message incomplete",
            "8 failed cancelled",
        ]
    )
    assert interrupted.response["status"] == "cancelled"
    assert second.text == "two"
    assert [message.text for message in agent.calls[1].messages] == ["b"]


@pytest.mark.parametrize("path", ["/responses", "/chat/completions"])
async def test_a_whole_answer_that_is_interrupted_still_comes(path: str) -> None:
    gate = Gate()
    agent = ScriptedAgent(["one", gate, "never"], ["two"])
    hi = {"input": "a", "messages": [{"role": "user", "content": "a"}], "conversation": "c1"}
    async with hosting(agent, "interrupt") as client:
        first = asyncio.create_task(client.post(path, json=hi))
        await gate.reached()
        second = await turn(client, "b")
        interrupted = await first

    assert interrupted.status == 200 and second.text == "two"
    answer = interrupted.json()
    assert answer.get("status") == "cancelled" or answer["choices"][0]["message"]["content"] is None


async def test_a_steered_turn_ends_behind_the_results_of_its_step_and_the_next_continues_it() -> None:
    agent = ScriptedAgent(["Looking.", CALL, until_steered, RESULT, "never"], ["Then not."])
    async with hosting(agent, "steer", own_tools="function_call") as client:
        first = begin(client, "Weather?")
        while not agent.calls:
            await client.get("/readiness")
        second = await turn(client, "Never mind.")
        steered = await first

    assert steered.lines() == snapshot(
        [
            "0 created in_progress",
            "1 in_progress",
            "2 item+ 0 message",
            "3 part+ 0.0 output_text",
            '4 text 0.0 "Looking."',
            '5 text= 0.0 "Looking."',
            "6 part- 0.0 output_text",
            "7 item- 0 message completed",
            "8 item+ 1 function_call look_up call-1",
            '9 args 1 "{}"',
            '10 args= 1 "{}"',
            "11 item- 1 function_call look_up call-1 completed",
            "12 item+ 2 function_call_output call-1 rain",
            "13 item- 2 function_call_output call-1 rain completed",
            "14 incomplete steered",
        ]
    )
    assert steered.response["incomplete_details"] == {"reason": "steered"}
    assert second.text == "Then not."
    contents = [content.type for message in agent.calls[1].messages for content in message.contents]
    assert contents == ["text", "text", "function_call", "function_result", "text"]


async def test_a_turn_without_a_step_is_done_before_it_is_steered(waiting: list[int]) -> None:
    agent = ScriptedAgent(["one", until_steered, "more"], ["two"])
    async with hosting(agent, "steer") as client:
        first = begin(client, "a")
        while not agent.calls:
            await client.get("/readiness")
        await turn(client, "b")

    assert (await first).text == "onemore"
    assert [message.text for message in agent.calls[1].messages] == ["a", "onemore", "b"]


@pytest.mark.parametrize("when_busy", ["interrupt", "steer"])
def test_the_sdks_host_cannot_end_turns_for_others(when_busy: WhenBusy) -> None:
    with pytest.raises(ConfigurationError, match="when_busy"):
        AgentHost(ScriptedAgent(), options=HostOptions(when_busy=when_busy))


def test_a_policy_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="when_busy is one of reject, queue, interrupt, steer"):
        HostOptions(when_busy="wait")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("driver", ["starlette", "agentserver"])
@pytest.mark.parametrize("store", [True, False])
async def test_a_response_that_has_not_ended_is_not_continued(driver: Driver, store: bool) -> None:
    gate = Gate()
    agent = ScriptedAgent(["one", gate], ["two"])
    async with hosting(agent, "reject", driver) as client:
        following = {"input": "b", "previous_response_id": await begun(client, gate, "a"), "store": store}
        refused = await client.post("/responses", json=following)
        gate.open()
        while (reply := await client.post("/responses", json=following)).status == 409:
            pass

    assert (refused.status, refused.headers["retry-after"]) == (409, "1")
    assert refused.json()["error"]["param"] == "previous_response_id"
    assert reply.status == 200, reply.text
    assert [message.text for message in agent.calls[1].messages] == ["a", "one", "b"]


async def test_a_request_waits_for_the_response_that_it_continues(waiting: list[int]) -> None:
    gate = Gate()
    agent = ScriptedAgent(["one", gate], ["two"])
    async with hosting(agent, "queue") as client:
        following = {"input": "b", "previous_response_id": await begun(client, gate, "a")}
        second = asyncio.create_task(client.post("/responses", json=following))
        await until_waiting(1, waiting)
        gate.open()
        assert (await second).status == 200

    assert [message.text for message in agent.calls[1].messages] == ["a", "one", "b"]
