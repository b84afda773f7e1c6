"""A process is found dead while it begins a turn of the queue, and its write is executed when others have the turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest

from hostedagent.protocol.json import decode
from hostedagent.stores.base import Etag, Write
from hostedagent.stores.factory import Stores
from hostedagent.stores.responses import StoredResponses
from hostedagent.testing import Gate, InProcessClient, ScriptedAgent
from tests.patience import PATIENCE
from tests.replicas.test_late_writes import FULL
from tests.replicas.test_store_away import Failing, OnFailing, ended
from tests.replicas.test_two_hosts import begin, text

pytestmark = pytest.mark.usefixtures("at_once")

When = Literal["its journal is taken", "another process has begun it"]


class Slow(Failing):
    """A store in which the first write that begins a turn of the queue takes as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.queued = ""
        self.reached, self.goes_on = asyncio.Event(), asyncio.Event()
        self.is_taken, self.is_begun = asyncio.Event(), asyncio.Event()

    async def write(self, caller: Any, writes: Sequence[Write]) -> list[Etag]:
        begins = any(self._begins(write) for write in writes)
        if begins and not self.reached.is_set():
            self.reached.set()
            await self.goes_on.wait()
            return await super().write(caller, writes)
        written = await super().write(caller, writes)
        if begins:
            self.is_begun.set()
        if any(write.key == ("recovery", self.queued) and write.value is None for write in writes):
            self.is_taken.set()
        return written

    def _begins(self, write: Write) -> bool:
        if write.key != ("response", self.queued) or write.value is None:
            return False
        return decode(write.value)["response"]["status"] == "in_progress"


class Ahead(OnFailing):
    """Processes of which one is so far ahead that the others' leases have expired for it."""

    seconds = 0.0

    def stores(self, name: str) -> Stores:
        made = super().stores(name)
        if name == "a":
            return made
        return replace(made, leases=replace(made.leases, clock=lambda: time.time() + self.seconds))


async def queue(client: InProcessClient, body: dict[str, Any]) -> str:
    """Queue a turn; returns its response's id."""
    if not body.get("stream"):
        return (await client.post("/responses", json=body)).json()["id"]
    async with client.stream("POST", "/responses", json=body) as events:
        return (await events.until("response.queued"))["response"]["id"]


@pytest.mark.parametrize("when", ["its journal is taken", "another process has begun it"])
@pytest.mark.parametrize("fields", [{}, {"stream": True}], ids=["polled", "followed"])
async def test_a_turn_that_a_dead_process_begins_late_is_run_by_another(fields: dict[str, Any], when: When) -> None:
    store, gates = Slow(), (Gate(), Gate())
    cluster = OnFailing(store)
    agents = [ScriptedAgent(["x", gate], *[["Hel", "lo."]] * 4) for gate in gates]
    body = {"input": "hi", "background": True, "conversation": "conv_1", **fields}
    async with cluster.pair(agents, **FULL) as (a, b):
        await begin(a, gates[0])
        second = await begin(b, gates[1])
        store.queued = await queue(a, body)
        gates[0].open()
        await store.reached.wait()
        cluster.dead.add("a")
        if when == "its journal is taken":
            await store.is_taken.wait()
            store.goes_on.set()
        gates[1].open()
        await ended(b, second)
        if when == "another process has begun it":
            await store.is_begun.wait()
            store.goes_on.set()
        whole = await ended(b, store.queued)

    assert (whole["status"], text(whole)) == ("completed", ["Hello."])
    assert [len(agent.calls) for agent in agents] == [1, 2]


async def test_a_turn_that_a_stopped_process_begins_late_goes_back_to_the_queue() -> None:
    store, gates = Slow(), (Gate(), Gate())
    cluster = Ahead(store)
    agents = [ScriptedAgent(["x", gate], *[["Hel", "lo."]] * 4) for gate in gates]
    async with cluster.pair(agents, **FULL) as (a, b):
        await begin(a, gates[0])
        second = await begin(b, gates[1])
        store.queued = await queue(a, {"input": "hi", "background": True})
        gates[0].open()
        await store.reached.wait()
        cluster.seconds = 1_000.0
        await store.is_taken.wait()
        cluster.seconds = 0.0
        store.goes_on.set()
        gates[1].open()
        await ended(b, second)
        whole = await ended(b, store.queued)

    assert (whole["status"], text(whole)) == ("completed", ["Hello."])
    assert sum(len(agent.calls) for agent in agents) == 3


class Touching(Slow):
    """A store in which a late write of another try changes the record of the turn before this one begins it."""

    async def write(self, caller: Any, writes: Sequence[Write]) -> list[Etag]:
        if any(self._begins(write) for write in writes) and not self.reached.is_set():
            self.reached.set()
            assert await StoredResponses(self).take_queued(caller, self.queued)
        return await super().write(caller, writes)


async def test_a_turn_whose_record_has_changed_meanwhile_stays_in_the_queue() -> None:
    store, gate = Touching(), Gate()
    agent = ScriptedAgent(["x", gate], *[["Hel", "lo."]] * 4)
    async with OnFailing(store).host("a", agent, **FULL) as a, asyncio.timeout(PATIENCE):
        await begin(a, gate)
        store.queued = await queue(a, {"input": "hi", "background": True, "conversation": "conv_1"})
        gate.open()
        whole = await ended(a, store.queued)

    assert store.reached.is_set()
    assert (whole["status"], text(whole)) == ("completed", ["Hello."])
