"""The hold on a conversation: renewed while a turn runs, taken over when it has expired, never taken back."""

import asyncio
from typing import Any

import pytest

from hostedagent.stores.base import StoreUnavailable
from hostedagent.stores.factory import Stores, memory_stores
from hostedagent.testing import Gate, InProcessClient
from tests.concurrency.world import Clock, Echo, WatchedState, processes, say, told
from tests.patience import PATIENCE


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state() -> WatchedState:
    return WatchedState(memory_stores().state)


@pytest.fixture
def stores(clock: Clock, state: WatchedState) -> Stores:
    return Stores.over(state, leases=clock.leases)


def begin(client: InProcessClient, text: str, **fields: Any) -> "asyncio.Task[dict[str, Any]]":
    return asyncio.create_task(say(client, text, **fields))


async def status(client: InProcessClient, text: str) -> int:
    return (await client.post("/responses", json={"input": text, "conversation": "conv_1"})).status


async def renewed(clock: Clock, state: WatchedState) -> None:
    await clock.wake()
    async with asyncio.timeout(PATIENCE):
        while (await state.written.get())["expires_at"] <= clock.now:
            pass


async def test_a_turn_that_takes_long_keeps_its_conversation(clock: Clock, stores: Stores, state: WatchedState) -> None:
    gate = Gate()
    agent = Echo(slow=gate)

    async with processes(agent, stores, 2) as (one, other):
        slow = begin(one, "slow")
        await gate.reached()
        for _ in range(10):
            clock.now += 50
            await renewed(clock, state)
        assert await status(other, "late") == 409
        gate.open()
        assert (await slow)["status"] == "completed"
        await say(other, "next")

    assert agent.prompts[-1] == told("slow", "next")


async def test_a_renewal_that_failed_is_tried_again(clock: Clock, stores: Stores, state: WatchedState) -> None:
    gate = Gate()
    agent = Echo(slow=gate)

    async with processes(agent, stores, 2) as (one, other):
        slow = begin(one, "slow")
        await gate.reached()
        state.refusals.append(StoreUnavailable("gone for a moment"))
        clock.now += 20
        await clock.wake()
        clock.now += 20
        await renewed(clock, state)
        clock.now += 59
        assert await status(other, "late") == 409
        gate.open()
        assert (await slow)["status"] == "completed"


async def test_a_turn_that_cannot_renew_stops_when_its_lease_has_expired(
    clock: Clock, stores: Stores, state: WatchedState
) -> None:
    gate = Gate()
    agent = Echo(slow=gate)

    async with processes(agent, stores) as (one,):
        slow = begin(one, "slow")
        await gate.reached()
        state.refusals.append(StoreUnavailable("gone for long"))
        clock.now += 60
        await clock.wake()
        answer = await slow

    assert answer["status"] == "failed"
    assert "another turn has taken its conversation" in answer["error"]["message"]
    assert agent.stopped == ["slow"]


async def test_a_turn_learns_at_its_renewal_that_another_one_took_over(clock: Clock, stores: Stores) -> None:
    gate = Gate()
    agent = Echo(slow=gate)

    async with processes(agent, stores, 2) as (one, other):
        slow = begin(one, "slow")
        await gate.reached()
        clock.now += 61
        await say(other, "quick")
        await clock.wake()
        answer = await slow
        await say(one, "next")

    assert answer["status"] == "failed"
    assert agent.stopped == ["slow"]
    assert agent.prompts[1:] == [told("quick"), told("quick", "next")]


@pytest.mark.parametrize("quick_ends_first", [True, False])
async def test_what_comes_after_the_take_over_does_not_become_the_head(
    clock: Clock, stores: Stores, quick_ends_first: bool
) -> None:
    slow_gate, quick_gate = Gate(), Gate()
    agent = Echo(slow=slow_gate, quick=quick_gate)

    async with processes(agent, stores, 2) as (one, other):
        await say(one, "first")
        slow = begin(one, "slow")
        await slow_gate.reached()
        clock.now += 61
        quick = begin(other, "quick")
        await quick_gate.reached()
        if quick_ends_first:
            quick_gate.open()
            await quick
        slow_gate.open()
        answer = await slow
        quick_gate.open()
        assert (await quick)["status"] == "completed"
        await say(one, "next")
        stored = (await one.get(f"/responses/{answer['id']}")).json()

    assert answer["status"] == stored["status"] == "failed"
    assert agent.prompts[2:] == [told("first", "quick"), told("first", "quick", "next")]


async def test_a_take_over_is_told_in_a_stream_too(clock: Clock, stores: Stores) -> None:
    gate = Gate()
    agent = Echo(slow=gate)
    body = {"input": "slow", "conversation": "conv_1", "stream": True}

    async with processes(agent, stores, 2) as (one, other):
        async with one.stream("POST", "/responses", json=body) as events:
            await events.until("response.output_text.delta")
            await gate.reached()
            clock.now += 61
            await say(other, "quick")
            await clock.wake()
            log = await events.log()

    assert log.status == "failed"


async def test_a_request_whose_lease_could_not_be_taken_keeps_nobody_out(stores: Stores, state: WatchedState) -> None:
    agent = Echo()

    async with processes(agent, stores) as (one,):
        state.refusals.append(StoreUnavailable("no answer"))
        assert await status(one, "first") == 503
        await say(one, "again")

    assert agent.prompts == [told("again")]


@pytest.mark.parametrize("jump", [61.0, 86_400.0, -86_400.0])
async def test_a_turn_survives_a_clock_that_jumps(
    clock: Clock, stores: Stores, state: WatchedState, jump: float
) -> None:
    gate = Gate()
    agent = Echo(slow=gate)

    async with processes(agent, stores, 2) as (one, other):
        slow = begin(one, "slow")
        await gate.reached()
        clock.now += jump
        await clock.wake()
        async with asyncio.timeout(PATIENCE):
            while (await state.written.get())["expires_at"] != clock.now + 60:
                pass
        assert await status(other, "late") == 409
        gate.open()
        assert (await slow)["status"] == "completed"
        await say(other, "next")

    assert agent.prompts[-1] == told("slow", "next")


@pytest.mark.parametrize("jump", [61.0, -86_400.0])
async def test_a_turn_whose_clock_jumps_before_it_ends_still_counts(clock: Clock, stores: Stores, jump: float) -> None:
    gate = Gate()
    agent = Echo(slow=gate)

    async with processes(agent, stores, 2) as (one, other):
        slow = begin(one, "slow")
        await gate.reached()
        clock.now += jump
        gate.open()
        assert (await slow)["status"] == "completed"
        await say(other, "next")

    assert agent.prompts[-1] == told("slow", "next")
