"""Turns of the queue whose conversation is busy: they delay no other turn, and are cancelled like the others."""

from __future__ import annotations

import asyncio

import pytest

from hostedagent.engine import waiting
from hostedagent.stores.background import BackgroundTurns
from hostedagent.stores.turn_queue import QueuedTurn, QueueState, StoredTurnQueue
from hostedagent.testing import Gate, ScriptedAgent
from tests.patience import PATIENCE
from tests.replicas.test_queue import enqueue, waiting_queue
from tests.replicas.test_two_hosts import Cluster, begin, ended, text

pytestmark = pytest.mark.usefixtures("at_once")


@pytest.fixture(autouse=True)
def others_first(at_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other turns are tried before one whose conversation is busy is tried again."""
    monkeypatch.setattr(waiting, "AGAIN_SECONDS", 0.05)


@pytest.mark.parametrize("when_busy", ["queue", "steer"])
async def test_a_turn_that_waits_for_its_conversation_delays_no_other_turn(when_busy: str) -> None:
    gates = Gate(), Gate()
    agent = ScriptedAgent(["one", gates[0]], ["x", gates[1]], ["other"], ["two"])
    limits = {"max_turns": 2, "max_queued": 10, "when_busy": when_busy}
    async with Cluster().host("a", agent, **limits) as client, asyncio.timeout(PATIENCE):
        first = await begin(client, gates[0], conversation="conv_1")
        await begin(client, gates[1])
        second, other = await enqueue(client, conversation="conv_1"), await enqueue(client)
        gates[1].open()
        whole = await ended(client, other)
        before = (await client.get(f"/responses/{second}")).json()["status"]
        gates[0].open()
        ends = [text(await ended(client, one)) for one in (first, second)]

    assert (whole["status"], text(whole), before) == ("completed", ["other"], "queued")
    assert ends == [["one"], ["two"]]


async def test_a_turn_of_the_queue_interrupts_the_running_turn_of_its_conversation() -> None:
    gates = Gate(), Gate()
    agent = ScriptedAgent(["one", gates[0]], ["x", gates[1]], ["two"])
    limits = {"max_turns": 2, "max_queued": 10, "when_busy": "interrupt"}
    async with Cluster().host("a", agent, **limits) as client, asyncio.timeout(PATIENCE):
        first = await begin(client, gates[0], conversation="conv_1")
        await begin(client, gates[1])
        second = await enqueue(client, conversation="conv_1")
        gates[1].open()
        whole = await ended(client, second)
        interrupted = await ended(client, first)

    assert (interrupted["status"], text(whole)) == ("cancelled", ["two"])


async def test_a_turn_that_a_process_tries_to_begin_just_now_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, gate, looks = Cluster(), Gate(), asyncio.Event()
    queue, take = waiting_queue(cluster), StoredTurnQueue.take

    async def seen(self: StoredTurnQueue, process: str, response_id: str | None = None) -> QueuedTurn | None:
        taken = await take(self, process, response_id)
        if response_id is not None:
            looks.set()
        return taken

    agent = ScriptedAgent(["one", gate])
    async with cluster.host("a", agent, max_turns=1, max_queued=10) as client, asyncio.timeout(PATIENCE):
        await begin(client, gate)
        queued = await enqueue(client)
        monkeypatch.setattr(StoredTurnQueue, "take", seen)
        await queue.take("c")
        cancelling = asyncio.create_task(client.post(f"/responses/{queued}/cancel"))
        await looks.wait()
        await queue.release(queued, delay=1_000.0)
        cancelled = (await cancelling).json()
        gate.open()

    assert cancelled["status"] == "cancelled" and await queue.state() == QueueState()


async def test_a_turn_whose_taker_is_suspended_for_longer_than_a_lease_is_begun_by_another_process() -> None:
    cluster, gate = Cluster(), Gate()
    stores, queue = cluster.stores("c"), waiting_queue(cluster)
    stopped = BackgroundTurns(stores.state, stores.leases)
    await stopped.join()
    agent = ScriptedAgent(["one", gate], *[["two"]] * 2)
    async with cluster.host("a", agent, max_turns=1, max_queued=10) as client, asyncio.timeout(PATIENCE):
        first = await begin(client, gate)
        second = await enqueue(client)
        await queue.take("c")
        gate.open()
        await ended(client, first)
        third = await ended(client, await enqueue(client))  # It has looked, and left the turn of a live process alone.
        before = (await client.get(f"/responses/{second}")).json()["status"]
        await stopped.leave()  # Others find it dead in the same way.
        whole = await ended(client, second)

    assert (third["status"], before, text(whole)) == ("completed", "queued", ["two"])
