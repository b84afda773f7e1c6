"""Turns that are stopped give their conversation back at once: the next request is a turn, not a refusal."""

import asyncio
from dataclasses import replace

import pytest

from hostedagent.stores.factory import memory_stores
from hostedagent.testing import Gate
from tests.concurrency.world import Echo, WatchedState, processes, say, told
from tests.patience import PATIENCE


@pytest.mark.parametrize("streams", [True, False])
async def test_a_client_that_leaves_gives_the_conversation_back(streams: bool) -> None:
    gate = Gate()
    agent = Echo(slow=gate)
    body = {"input": "slow", "conversation": "conv_1", "stream": streams}

    async with processes(agent, memory_stores()) as (client,):
        if streams:
            async with client.stream("POST", "/responses", json=body) as events:
                await events.until("response.output_text.delta")
                await gate.reached()
        else:
            waiting = asyncio.create_task(client.post("/responses", json=body))
            await gate.reached()
            waiting.cancel()
        await client.idle()
        assert (agent.stopped, agent.running) == (["slow"], 0)
        await say(client, "next")

    assert agent.prompts[-1] == told("next")


async def test_the_request_after_a_cancel_is_a_turn() -> None:
    gate = Gate()
    agent = Echo(slow=gate)

    async with processes(agent, memory_stores()) as (client,):
        started = await say(client, "slow", background=True)
        await gate.reached()
        assert (await client.post(f"/responses/{started['id']}/cancel")).json()["status"] == "cancelled"
        assert (agent.stopped, agent.running) == (["slow"], 0)
        await say(client, "next")

    assert agent.prompts[-1] == told("next")


async def test_a_cancelled_turn_gives_the_conversation_back_to_other_processes() -> None:
    gate = Gate()
    agent = Echo(slow=gate)
    stores = memory_stores()
    state = WatchedState(stores.state)

    async with processes(agent, replace(stores, state=state), 2) as (one, other):
        started = await say(one, "slow", background=True)
        await gate.reached()
        await one.post(f"/responses/{started['id']}/cancel")
        async with asyncio.timeout(PATIENCE):
            taken, given_back = await state.written.get(), await state.written.get()
        await say(other, "next")

    assert taken["owner"] is not None
    assert given_back["owner"] is None
    assert agent.prompts[-1] == told("next")


async def test_a_host_that_stops_gives_its_conversations_back() -> None:
    gate = Gate()
    agent = Echo(slow=gate)
    stores = memory_stores()

    async with processes(agent, stores) as (other,):
        async with processes(agent, stores) as (stopping,):
            waiting = asyncio.create_task(stopping.post("/responses", json={"input": "slow", "conversation": "conv_1"}))
            await gate.reached()
        await asyncio.wait((waiting,))
        await say(other, "next")

    assert agent.stopped == ["slow"]
    assert agent.prompts[-1] == told("next")
