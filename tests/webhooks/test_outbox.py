"""Both outboxes: in PostgreSQL, and over any store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import pytest
from msgspec.structs import replace

from hostedagent.identity import Caller, IsolationKeys, Scope
from hostedagent.stores.base import Key, Record
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.outbox import SCAN_SECONDS, Delivery, Outbox, StoredOutbox
from tests.postgres.server import MISSING, postgres_dsn, schema

ADA = Caller(Scope("user:ada", "chat"), IsolationKeys("ada", "chat"), platform_user="ada")
HOLD = 1_000.0


@dataclass(slots=True)
class Pair:
    """One outbox, in two processes."""

    one: Outbox
    two: Outbox


@pytest.fixture(params=["stored", "postgres"])
async def outboxes(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    if request.param == "stored":
        store = MemoryStore()
        yield Pair(StoredOutbox(store, time.time), StoredOutbox(store, time.time))
        return
    if find_spec("psycopg") is None:
        pytest.skip(MISSING)
    from hostedagent.stores.postgres.database import Database
    from hostedagent.stores.postgres.outbox import PostgresOutbox
    from hostedagent.stores.postgres.settings import PostgresSettings

    with schema() as name:
        database = Database(PostgresSettings(dsn=postgres_dsn(), schema=name, pool_size=8))
        yield Pair(PostgresOutbox(database), PostgresOutbox(database))
        await database.aclose()


def delivery(name: str, event: str = "") -> Delivery:
    return Delivery(response_id=name, caller=ADA, owner="p", event=event)


async def names(outbox: Outbox, *, hold: float = HOLD, limit: int = 100) -> list[str]:
    return sorted(taken.response_id for taken in await outbox.take(limit=limit, hold=hold))


async def test_what_has_ended_is_taken_by_one_with_all_that_is_known(outboxes: Pair) -> None:
    await outboxes.one.begin(delivery("a"), delay=HOLD)
    await outboxes.one.end(delivery("a", "response.completed"))
    (taken,) = await outboxes.one.take(limit=5, hold=HOLD)
    assert abs(taken.ended_at - time.time()) < 600
    assert replace(taken, ended_at=0.0) == replace(delivery("a", "response.completed"), attempts=1)
    assert await names(outboxes.two) == await names(outboxes.one) == []


async def test_no_two_processes_take_the_same(outboxes: Pair) -> None:
    expected = sorted(f"r{n}" for n in range(40))
    await asyncio.gather(*(outboxes.one.end(delivery(name, "response.completed")) for name in expected))
    taken: list[str] = []
    while len(taken) < len(expected):
        for some in await asyncio.gather(*(names(one, limit=3) for one in (outboxes.one, outboxes.two) * 3)):
            taken += some
    assert sorted(taken) == expected


async def test_a_turn_that_began_is_looked_at_later_and_does_not_count_as_sent(outboxes: Pair) -> None:
    await outboxes.one.begin(delivery("late"), delay=HOLD)
    await outboxes.one.begin(delivery("soon"), delay=0)
    (taken,) = await outboxes.one.take(limit=5, hold=0)
    assert taken == delivery("soon")


async def test_a_turn_that_begins_again_does_not_hide_how_it_ended(outboxes: Pair) -> None:
    await outboxes.one.end(delivery("a", "response.failed"))
    await outboxes.two.begin(delivery("a"), delay=HOLD)
    assert [taken.event for taken in await outboxes.one.take(limit=5, hold=HOLD)] == ["response.failed"]


async def test_what_was_taken_is_due_again_after_its_hold_or_a_retry(outboxes: Pair) -> None:
    await outboxes.one.end(delivery("a", "response.completed"))
    (first,) = await outboxes.one.take(limit=5, hold=0)
    (second,) = await outboxes.one.take(limit=5, hold=HOLD)
    assert (first.attempts, second.attempts) == (1, 2)
    await outboxes.one.retry(first, delay=0)  # Too late: it was taken again.
    assert await names(outboxes.one) == []
    await outboxes.one.retry(second, delay=0)
    (third,) = await outboxes.one.take(limit=5, hold=HOLD)
    assert third.attempts == 3


@pytest.mark.parametrize("how", ["drop", "bury"])
async def test_what_is_done_is_never_taken_again(outboxes: Pair, how: str) -> None:
    await outboxes.one.end(delivery("a", "response.completed"))
    (taken,) = await outboxes.one.take(limit=5, hold=0)
    await getattr(outboxes.one, how)(taken)
    assert await names(outboxes.one) == await names(outboxes.two) == []


async def test_a_store_is_read_for_what_is_due_only_once_in_a_while() -> None:
    class Counted(MemoryStore):
        reads = 0

        async def read(self, caller: Caller, keys: Sequence[Key]) -> list[Record | None]:
            self.reads += 1
            return await super().read(caller, keys)

    store, times = Counted(), iter([1_000.0, 1_000.0, 1_000.0 + SCAN_SECONDS])
    outbox = StoredOutbox(store, lambda: next(times))
    reads: list[int] = []
    for _ in range(3):
        assert await names(outbox) == []
        reads.append(store.reads)

    assert reads == [1, 1, 2]
