"""The lists of replicas and the journals of their turns, of which each belongs to one replica."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from hostedagent.errors import Conflict
from hostedagent.identity import Caller, IsolationKeys, Scope
from hostedagent.stores.background import BackgroundTurns
from hostedagent.stores.base import Etag, Key, Liveness, Record, StoreUnavailable, Write
from hostedagent.stores.journals import JOURNALS, Journal
from hostedagent.stores.lease_settings import LeaseSettings
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.values import read_value

ADA = Caller(Scope("user:ada"))
JOURNAL = Journal(Scope("user:ada"), IsolationKeys("ada"))


class Deaf(MemoryStore):
    """A store whose answers are lost for some time."""

    is_deaf = False

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        written = await super().write(caller, writes)
        if self.is_deaf:
            raise StoreUnavailable("No answer came.")
        return written


async def replica(store: MemoryStore, liveness: Liveness | None = None) -> BackgroundTurns:
    turns = BackgroundTurns(store, LeaseSettings(liveness=liveness) if liveness is not None else LeaseSettings())
    await turns.join()
    return turns


async def test_a_replica_that_ends_a_turn_leaves_the_journal_of_the_one_that_has_begun_it_since() -> None:
    store = MemoryStore()
    first, second = await replica(store), await replica(store)
    await first.begin(ADA, "resp_1", JOURNAL, b"one")
    await first.begin(ADA, "resp_2", JOURNAL, b"two")
    await second.begin(ADA, "resp_1", JOURNAL, b"again")

    await first.end("resp_1")
    await first.end("resp_2")
    assert await first.find(ADA, "resp_2") is None
    assert await second.holds(ADA, "resp_1")
    await second.leave()
    taken = await first.take("resp_1")
    assert taken is not None and taken[1] == b"again"


async def test_a_turn_ends_though_the_answer_to_the_last_write_of_its_journal_was_lost() -> None:
    store = Deaf()
    turns = await replica(store)
    await turns.begin(ADA, "resp_1", JOURNAL, b"one")
    store.is_deaf = True
    with pytest.raises(StoreUnavailable):
        await turns.write(ADA, "resp_1", JOURNAL)
    store.is_deaf = False

    await turns.end("resp_1")
    assert await turns.find(ADA, "resp_1") is None


class Renamed:
    """The liveness of a process that was found dead, and got a new name when it reconnected."""

    own = "a"
    dead = ""

    async def name(self) -> str:
        return self.own

    async def is_dead(self, name: str) -> bool:
        return name in self.dead


class Breaking(MemoryStore):
    """A store that answers one read late, and then fails one write."""

    reads: asyncio.Event | None = None
    fails: asyncio.Event | None = None

    async def read(self, caller: Caller, keys: Sequence[Key]) -> list[Record | None]:
        if (late := self.reads) is not None:
            self.reads = None
            await late.wait()
        return await super().read(caller, keys)

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        if (late := self.fails) is not None:
            self.fails = None
            await late.wait()
            raise StoreUnavailable("The database is restarted.")
        return await super().write(caller, writes)


async def test_a_turn_that_begins_while_its_replica_joins_under_a_new_name_is_never_lost() -> None:
    store, liveness = Breaking(), Renamed()
    settings = LeaseSettings(liveness=liveness)
    turns = BackgroundTurns(store, settings)
    await turns.join()
    await turns.begin(ADA, "resp_0", JOURNAL, b"")
    liveness.own, liveness.dead = "b", "a"
    checked, failed = asyncio.Event(), asyncio.Event()
    store.reads, store.fails = checked, failed

    check = asyncio.create_task(turns.check())
    await asyncio.sleep(0)
    end = asyncio.create_task(turns.end("resp_0"))
    begin = asyncio.create_task(turns.begin(ADA, "resp_1", JOURNAL, b""))
    await asyncio.sleep(0)
    checked.set()
    await asyncio.wait([check])
    join = asyncio.create_task(turns.join())
    await asyncio.sleep(0)
    failed.set()
    await asyncio.wait([end, begin, join])
    assert isinstance(check.exception(), Conflict) and isinstance(end.exception(), StoreUnavailable)
    assert join.exception() is None

    liveness.dead = "ab"
    is_known = "resp_1" in await BackgroundTurns(store, settings).orphans()
    assert is_known or isinstance(begin.exception(), StoreUnavailable)


async def test_a_turn_is_found_by_others_though_the_answer_was_lost_when_a_replica_took_it() -> None:
    store = Deaf()
    first, second, third = [await replica(store) for _ in range(3)]
    await first.begin(ADA, "resp_1", JOURNAL, b"one")
    await first.leave()
    store.is_deaf = True
    with pytest.raises(StoreUnavailable):
        await second.take("resp_1")
    store.is_deaf = False
    await third.clear()
    await second.leave()

    assert await third.orphans() == ["resp_1"]
    taken = await third.take("resp_1")
    assert taken is not None and taken[1] == b"one"


async def test_a_turn_whose_beginning_may_not_have_been_stored_leaves_nothing() -> None:
    store = Deaf()
    turns = await replica(store)
    store.is_deaf = True
    with pytest.raises(StoreUnavailable):
        await turns.begin(ADA, "resp_1", JOURNAL, b"one")
    store.is_deaf = False
    assert await turns.find(ADA, "resp_1") is not None
    await turns.check()

    assert await turns.find(ADA, "resp_1") is None
    assert await store.read(Caller(JOURNALS), [Key("request", "resp_1:0")]) == [None]


async def test_a_replica_that_has_left_stays_so_when_one_of_its_turns_ends_late() -> None:
    store = MemoryStore()
    first, second = await replica(store), await replica(store)
    await first.begin(ADA, "resp_1", JOURNAL, b"one")
    await first.begin(ADA, "resp_2", JOURNAL, b"two")
    await first.leave()
    await first.end("resp_1")

    assert await second.orphans() == ["resp_2"]


async def test_replicas_that_run_for_longer_than_the_retention_find_each_others_turns() -> None:
    now = [0.0]
    store, settings = MemoryStore(retention=1_000.0, clock=lambda: now[0]), LeaseSettings(clock=lambda: now[0])
    replicas = [BackgroundTurns(store, settings) for _ in range(2)]
    for turns in replicas:
        await turns.join()
    for now[0] in range(50, 1_100, 50):
        for turns in replicas:
            await turns.check()
    first, second = replicas
    await first.begin(ADA, "resp_1", JOURNAL, b"one")
    await first.leave()

    assert await second.orphans() == ["resp_1"]


async def test_a_replica_that_joins_removes_those_that_have_left() -> None:
    store = MemoryStore()
    for _ in range(3):
        await (await replica(store)).leave()
    await replica(store)

    names = await read_value(store, Caller(JOURNALS), Key("replicas", ""))
    assert names is not None and len(names.value["names"]) == 1


async def test_a_turn_does_not_begin_in_a_replica_that_is_being_found_dead() -> None:
    store, liveness = Breaking(), Renamed()
    turns = await replica(store, liveness)
    store.reads = checked = asyncio.Event()
    check = asyncio.create_task(turns.check())
    await asyncio.sleep(0)
    begin = asyncio.create_task(turns.begin(ADA, "resp_1", JOURNAL, b""))
    await asyncio.sleep(0)
    liveness.own = "b"
    checked.set()
    await asyncio.wait([check, begin])

    assert isinstance(check.exception(), Conflict) and isinstance(begin.exception(), StoreUnavailable)
    assert await turns.find(ADA, "resp_1") is None


async def test_a_turn_that_could_not_be_taken_and_has_ended_elsewhere_is_listed_no_more() -> None:
    store = Breaking()
    first, second, third = [await replica(store) for _ in range(3)]
    await first.begin(ADA, "resp_1", JOURNAL, b"one")
    await first.leave()
    store.fails = failed = asyncio.Event()
    failed.set()
    with pytest.raises(StoreUnavailable):
        await second.take("resp_1")
    await third.take("resp_1")
    await third.end("resp_1")
    assert await second.take("resp_1") is None
    await third.clear()
    await second.leave()

    assert await third.orphans() == []
