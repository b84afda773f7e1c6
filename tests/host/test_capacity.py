"""Limits on turns: who is refused, who waits, and that every ending gives the slot back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeAlias

import pytest
from agent_framework import SupportsAgentRun

from hostedagent import AgentHost, Hooks, HostOptions, TurnRequest
from hostedagent.engine.concurrency import ConcurrencyLimiter
from hostedagent.errors import InvalidRequest, TooManyTurns
from hostedagent.outcomes import Outcome
from hostedagent.testing import Gate, InProcessClient, ScriptedAgent, serve
from hostedagent.testing.client import Reply
from tests.host.world import Writes, hosting
from tests.patience import PATIENCE

pytestmark = pytest.mark.one_replica("max_turns counts the turns of one process")

Delivery: TypeAlias = Literal["whole", "streamed", "background"]
FIELDS: dict[Delivery, dict[str, Any]] = {
    "whole": {},
    "streamed": {"stream": True},
    "background": {"background": True},
}


@asynccontextmanager
async def limited(
    make: Callable[[], SupportsAgentRun], *, max_turns: int = 1, max_waiting: int = 0
) -> AsyncGenerator[InProcessClient]:
    async with hosting(make, options=HostOptions(max_turns=max_turns, max_waiting=max_waiting)) as client:
        yield client


async def turn(client: InProcessClient, delivery: Delivery = "whole", **fields: Any) -> Reply:
    return await client.post("/responses", json={"input": "hi", **FIELDS[delivery], **fields})


async def free_again(client: InProcessClient) -> None:
    """A turn gets through: the slot of the one before is free."""
    async with asyncio.timeout(PATIENCE):
        while (reply := await turn(client)).status == 429:
            pass
    assert reply.status == 200


class Held:
    """Makes agents of which the first stands still."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.made = 0

    def __call__(self) -> ScriptedAgent:
        self.made += 1
        return ScriptedAgent(["held ", self.gate, "on"] if self.made == 1 else ["quick"])


@pytest.mark.parametrize("running", FIELDS)
async def test_a_turn_too_many_is_told_when_to_come_back_and_nothing_is_stored(
    running: Delivery, writes: Writes
) -> None:
    held = Held()
    async with limited(held) as client:
        first = asyncio.create_task(turn(client, running))
        await held.gate.reached()
        stored = len(writes.created)

        refused = await turn(client)
        assert refused.status == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert len(writes.created) == stored
        assert held.made == 1
        assert (await client.get("/readiness")).status == 200

        held.gate.open()
        await first
        await free_again(client)


async def test_what_is_wrong_with_a_request_is_told_first() -> None:
    held = Held()
    async with limited(held) as client:
        first = asyncio.create_task(turn(client))
        await held.gate.reached()

        assert (await turn(client, temperature="hot")).status == 400

        held.gate.open()
        await first


async def test_who_waits_gets_an_answer_and_no_more_run_than_may() -> None:
    running: list[int] = []

    class Counted(ScriptedAgent):
        def run(self, *args: Any, **kwargs: Any) -> Any:
            running.append(len(running))
            return super().run(*args, **kwargs)

    async def count(request: TurnRequest, outcome: Outcome) -> None:
        assert len(running) <= 2
        running.pop()

    host = AgentHost(
        lambda: Counted(["ok"]), options=HostOptions(max_turns=2, max_waiting=10), hooks=Hooks(on_outcome=count)
    )
    async with serve(host.app) as client:
        replies = await asyncio.gather(*(turn(client, delivery) for delivery in list(FIELDS) * 4))

    assert [reply.status for reply in replies] == [200] * 12


async def test_who_waits_is_served_in_order() -> None:
    capacity = ConcurrencyLimiter(1, waiting=5)
    slot = await capacity.acquire(never)
    served: list[int] = []

    async def wait(number: int) -> None:
        mine = await capacity.acquire(never)
        served.append(number)
        mine.release()

    async with asyncio.TaskGroup() as tasks:
        for number in range(5):
            tasks.create_task(wait(number))
        await settle()
        assert served == []
        slot.release()

    assert served == [0, 1, 2, 3, 4]


async def failing(client: InProcessClient, held: Held) -> None:
    held.gate.open()
    await turn(client)


async def refused_by_the_sdk(client: InProcessClient, held: Held) -> None:
    held.made = 1
    assert (await turn(client, include=["no_such.field"])).status == 400


async def left(client: InProcessClient, held: Held) -> None:
    async with client.stream("POST", "/responses", json={"input": "hi", "stream": True}) as events:
        await held.gate.reached()
        events.disconnect()


async def cancelled(client: InProcessClient, held: Held) -> None:
    started = await turn(client, "background")
    await held.gate.reached()
    await client.post(f"/responses/{started.json()['id']}/cancel")


@pytest.mark.parametrize("end", [failing, refused_by_the_sdk, left, cancelled])
async def test_every_ending_gives_the_slot_back(
    end: Callable[[InProcessClient, Held], Awaitable[None]],
) -> None:
    held = Held()

    def make() -> ScriptedAgent:
        agent = held()
        return ScriptedAgent([RuntimeError("broken")]) if end is failing and held.made == 1 else agent

    async with limited(make) as client:
        await end(client, held)
        await free_again(client)


async def never() -> Any:
    await asyncio.Event().wait()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_leaves_the_queue_takes_no_slot() -> None:
    capacity = ConcurrencyLimiter(1, waiting=1)
    slot = await capacity.acquire(never)
    leaves = asyncio.Event()

    async def leave() -> Any:
        await leaves.wait()
        return {"type": "http.disconnect"}

    waiting = asyncio.create_task(capacity.acquire(leave))
    await settle()
    with pytest.raises(TooManyTurns):
        await capacity.acquire(never)
    leaves.set()
    with pytest.raises(InvalidRequest):
        await waiting

    slot.release()
    slot.release()
    assert len(capacity) == 0


async def test_a_slot_given_to_who_is_cancelled_goes_to_the_next() -> None:
    capacity = ConcurrencyLimiter(1, waiting=2)
    slot = await capacity.acquire(never)
    waiting = [asyncio.create_task(capacity.acquire(never)) for _ in range(2)]
    await settle()

    slot.abandon()
    waiting[0].cancel()
    last = await waiting[1]

    assert len(capacity) == 1
    last.release()
    assert len(capacity) == 0


async def test_a_turn_that_was_admitted_by_an_earlier_process_always_has_a_slot() -> None:
    capacity = ConcurrencyLimiter(1)
    slots = [await capacity.acquire(never), capacity.grant()]

    assert len(capacity) == 2
    slots[0].release()
    with pytest.raises(TooManyTurns):
        await capacity.acquire(never)
    slots[1].release()
    (await capacity.acquire(never)).release()
    assert len(capacity) == 0
