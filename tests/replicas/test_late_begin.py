"""A process is found dead while it begins a turn of the queue, and its write is executed when others have the turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest
from msgspec.structs import replace as changed

from hostedagent.identity import Caller
from hostedagent.protocol.json import decode
from hostedagent.stores.background import BackgroundTurns
from hostedagent.stores.base import Etag, Key, StoreUnavailable, Write
from hostedagent.stores.factory import Stores
from hostedagent.stores.leases import CONVERSATION, Lease, Leases, read_head
from hostedagent.stores.responses import StoredResponses
from hostedagent.stores.values import write_value
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


class Twice(Slow):
    """A store in which the second process begins the turn while it also looks who has left it.

    Args:
        cluster: The processes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_left = self.is_forgotten = False
        self.accepting, self.begins, self.creating, self.creates = (asyncio.Event() for _ in range(4))
        self.looks = self.touches = 0

    async def write(self, caller: Any, writes: Sequence[Write]) -> list[Etag]:
        if self.is_left:
            await self._wait(writes)
        return await super().write(caller, writes)

    async def _wait(self, writes: Sequence[Write]) -> None:
        for write in writes:
            if write.key.kind == "conversation" and not self.accepting.is_set():
                self.accepting.set()
                await self.begins.wait()
            elif self._begins(write):
                self.creating.set()
                await self.creates.wait()
            elif write.key == ("response", self.queued):
                self.touches += 1
                if self.touches == 2:  # By the takeover: the turn is begun from the queue before it goes on.
                    self.begins.set()
                    await self.creating.wait()
            elif write.key == ("recovery", self.queued) and write.value is None:
                self.is_forgotten |= not self.creates.is_set()
                self.creates.set()

    def look(self) -> None:
        """The process has looked for turns that others have left; what it found first is decided then."""
        self.looks += 1
        if self.looks > 3:
            self.begins.set()
            self.creates.set()


async def test_a_turn_that_a_process_begins_from_the_queue_is_not_taken_over_by_the_same_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, gates = Twice(), (Gate(), Gate())
    cluster, orphans = OnFailing(store), BackgroundTurns.orphans

    async def late(turns: BackgroundTurns) -> list[str]:
        if store.is_left:
            await store.accepting.wait()
            store.look()
        return await orphans(turns)

    monkeypatch.setattr(BackgroundTurns, "orphans", late)
    agents = [ScriptedAgent(["x", gate], *[["Hel", "lo."]] * 4) for gate in gates]
    async with cluster.pair(agents, **FULL) as (a, b):
        await begin(a, gates[0])
        second = await begin(b, gates[1])
        store.queued = await queue(a, {"input": "hi", "background": True, "conversation": "conv_1"})
        gates[0].open()
        await store.reached.wait()
        gates[1].open()
        await ended(b, second)
        store.is_left = True
        cluster.dead.add("a")
        whole = await ended(b, store.queued)
        store.goes_on.set()

    assert not store.is_forgotten
    assert (whole["status"], text(whole)) == ("completed", ["Hello."])
    assert [len(agent.calls) for agent in agents] == [1, 2]


class Touching(Slow):
    """A store in which a late write of another try changes the record of the turn before this one begins it."""

    async def write(self, caller: Any, writes: Sequence[Write]) -> list[Etag]:
        if any(self._begins(write) for write in writes) and not self.reached.is_set():
            self.reached.set()
            assert await StoredResponses(self).take_queued(caller, self.queued)
        return await super().write(caller, writes)


class Stealing(Slow):
    """A store that is away when a turn of the queue begins, until another process has taken its conversation."""

    async def write(self, caller: Any, writes: Sequence[Write]) -> list[Etag]:
        if not self.reached.is_set() and any(write.key == ("recovery", self.queued) for write in writes):
            self.reached.set()
            key = Key(CONVERSATION, "conv_1")
            head, etag = await read_head(self, Caller(), key)
            await write_value(self, Caller(), key, changed(head, owner="c:other", expires_at=0.0), expect=etag)
            raise StoreUnavailable("away")
        return await super().write(caller, writes)


@pytest.mark.parametrize("kind", [Touching, Stealing], ids=["its record", "its conversation"])
async def test_a_turn_whose_record_or_conversation_has_changed_meanwhile_stays_in_the_queue(kind: type[Slow]) -> None:
    store, gate = kind(), Gate()
    agent = ScriptedAgent(["x", gate], *[["Hel", "lo."]] * 4)
    async with OnFailing(store).host("a", agent, **FULL) as a, asyncio.timeout(PATIENCE):
        await begin(a, gate)
        store.queued = await queue(a, {"input": "hi", "background": True, "conversation": "conv_1"})
        gate.open()
        whole = await ended(a, store.queued)

    assert store.reached.is_set()
    assert (whole["status"], text(whole)) == ("completed", ["Hello."])


async def test_a_turn_is_given_back_to_the_queue_although_its_conversation_is_lost_just_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, gates, take_over = Slow(), (Gate(), Gate()), Leases.take_over

    async def stolen(leases: Leases, caller: Caller, conversation_id: str, *given: Any) -> Lease | None:
        lease, key = await take_over(leases, caller, conversation_id, *given), Key(CONVERSATION, conversation_id)
        if lease is not None:
            await write_value(store, caller, key, changed(lease.head, owner="c:other", expires_at=0.0))
        return lease

    monkeypatch.setattr(Leases, "take_over", stolen)
    agents = [ScriptedAgent(["x", gates[0]], ["never"]), ScriptedAgent(["x", gates[1]], *[["Hel", "lo."]] * 2)]
    cluster = OnFailing(store)
    async with cluster.pair(agents, **FULL) as (a, b):
        await begin(a, gates[0])
        second = await begin(b, gates[1])
        store.queued = await queue(a, {"input": "hi", "background": True, "conversation": "conv_1"})
        gates[0].open()
        await store.reached.wait()
        cluster.dead.add("a")
        await store.is_taken.wait()
        store.goes_on.set()
        gates[1].open()
        await ended(b, second)
        whole = await ended(b, store.queued)

    assert (whole["status"], text(whole)) == ("completed", ["Hello."])
