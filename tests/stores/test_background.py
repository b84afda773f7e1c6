"""The lists of replicas and the journals of their turns, of which each belongs to one replica."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hostedagent.identity import Caller, IsolationKeys, Scope
from hostedagent.stores.background import BackgroundTurns
from hostedagent.stores.base import Etag, StoreUnavailable, Write
from hostedagent.stores.journals import Journal
from hostedagent.stores.lease_settings import LeaseSettings
from hostedagent.stores.memory import MemoryStore

ADA = Caller(Scope("user:ada"))
JOURNAL = Journal(Scope("user:ada"), IsolationKeys("ada"))


async def replica(store: MemoryStore) -> BackgroundTurns:
    turns = BackgroundTurns(store, LeaseSettings())
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
    class Deaf(MemoryStore):
        is_deaf = False

        async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
            written = await super().write(caller, writes)
            if self.is_deaf:
                raise StoreUnavailable("No answer came.")
            return written

    store = Deaf()
    turns = await replica(store)
    await turns.begin(ADA, "resp_1", JOURNAL, b"one")
    store.is_deaf = True
    with pytest.raises(StoreUnavailable):
        await turns.write(ADA, "resp_1", JOURNAL)
    store.is_deaf = False

    await turns.end("resp_1")
    assert await turns.find(ADA, "resp_1") is None
