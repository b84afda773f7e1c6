"""Records that others change all the time: tried again a bounded number of times, and stored once if one succeeds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hostedagent.identity import Caller, Scope
from hostedagent.stores.base import ABSENT, Key, StoreConflict, StoreUnavailable, Write
from hostedagent.stores.batch import Rows, write_batch
from hostedagent.stores.conversations import Conversations
from hostedagent.stores.factory import sqlite_stores
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.responses import StoredResponses
from hostedagent.stores.values import Value, change_value
from tests.emulator.wire import message, response

ADA = Caller(Scope("user:ada"))
KEY = Key("count", "a")


class Contended(MemoryStore):
    """Somebody else is faster, the first so many times."""

    def __init__(self, conflicts: int) -> None:
        super().__init__()
        self.conflicts = conflicts
        self.attempts = 0

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[str]:
        self.attempts += 1
        if self.attempts <= self.conflicts:
            raise StoreConflict("changed")
        return await super().write(caller, writes)


class ContendedList(Contended):
    """The description of a conversation is its own; the list is everybody's."""

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[str]:
        if writes[0].key.kind == "conversation-description":
            return await MemoryStore.write(self, caller, writes)
        return await super().write(caller, writes)


def counted(value: Value | None) -> Value:
    return {"n": (value or {"n": 0})["n"] + 1}


async def change(store: Contended) -> Any:
    await change_value(store, ADA, KEY, counted)
    return await store.read(ADA, [KEY])


async def batch(store: Contended) -> Any:
    await write_batch(store, ADA, [Rows([Write(KEY, b"1")])])
    return await store.read(ADA, [KEY])


async def create(store: Contended) -> Any:
    responses = StoredResponses(store)
    made = response("caresp_1", status="completed", conversation={"id": "conv_1"})
    await responses.create(ADA, made, [message("in")])
    return [(await responses.get(ADA, "caresp_1"))["status"], await responses.members(ADA, "conv_1")]


async def listed(store: Contended) -> Any:
    conversations = Conversations(store)
    await conversations.begin(ADA, "conv_1")
    return await conversations.listed(ADA)


@dataclass(frozen=True, slots=True)
class Case:
    attempts: int
    call: Callable[[Contended], Awaitable[Any]]
    store: type[Contended] = Contended


CASES = [Case(50, change), Case(50, batch), Case(50, create), Case(50, listed, ContendedList)]
NAMES = [case.call.__name__ for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
async def test_the_last_attempt_counts(case: Case) -> None:
    patient = case.store(case.attempts - 1)
    assert await case.call(patient) == await case.call(case.store(0))
    assert patient.attempts == case.attempts


@pytest.mark.parametrize("case", CASES, ids=NAMES)
async def test_after_the_last_attempt_the_store_is_unavailable(case: Case) -> None:
    store = case.store(1_000)
    with pytest.raises(StoreUnavailable, match="changed by too many others"):
        await case.call(store)
    assert store.attempts == case.attempts


async def test_a_conversation_that_could_not_be_listed_is_listed_by_the_next_attempt() -> None:
    store = ContendedList(50)
    conversations = Conversations(store)
    with pytest.raises(StoreUnavailable):
        await conversations.begin(ADA, "conv_1")

    assert await conversations.describe(ADA, ["conv_1"]) == [None]
    await conversations.begin(ADA, "conv_1", {"a": "b"})
    assert await conversations.listed(ADA) == ["conv_1"]
    assert [found.metadata for found in await conversations.describe(ADA, ["conv_1"]) if found] == [{"a": "b"}]


async def test_a_hundred_conversations_begin_at_once(tmp_path: Path) -> None:
    stores = sqlite_stores(tmp_path / "state.db")  # Its operations yield to each other, unlike those in memory.
    conversations = Conversations(stores.state)
    names = [f"conv_{n}" for n in range(100)]
    try:
        await asyncio.gather(*(conversations.begin(ADA, name) for name in names))
        assert sorted(await conversations.listed(ADA)) == sorted(names)
    finally:
        await stores.aclose()


async def test_two_dozen_write_the_same_records_at_once(tmp_path: Path) -> None:
    class Counted(Rows, frozen=True):
        async def writes(self, *, is_again: bool) -> list[Write]:
            (found,) = await stores.state.read(ADA, [KEY])
            value = counted(json.loads(found.value) if found is not None else None)
            return [Write(KEY, json.dumps(value).encode(), found.etag if found is not None else ABSENT)]

    stores = sqlite_stores(tmp_path / "state.db")
    responses, names = StoredResponses(stores.state), [f"caresp_{n}" for n in range(24)]
    made = [response(name, status="completed", conversation={"id": "conv_1"}) for name in names]
    try:
        await asyncio.gather(*(responses.create(ADA, one, [message(f"{one['id']}-in")]) for one in made))
        await asyncio.gather(*(write_batch(stores.state, ADA, [Counted([])]) for _ in names))
        (count,) = await stores.state.read(ADA, [KEY])
        assert sorted(await responses.members(ADA, "conv_1")) == sorted(names)
        assert count is not None and json.loads(count.value) == {"n": len(names)}
    finally:
        await stores.aclose()


async def test_each_part_of_a_batch_learns_its_own_versions() -> None:
    told: list[list[str]] = []

    class Part(Rows, frozen=True):
        def written(self, etags: Sequence[str]) -> None:
            told.append(list(etags))

    store = MemoryStore()
    keys = [Key("count", name) for name in "abc"]
    await write_batch(
        store, ADA, [Part([Write(keys[0], b"1"), Write(keys[1], b"2")]), Part([]), Part([Write(keys[2], b"3")])]
    )
    etags = [record.etag for record in await store.read(ADA, keys) if record is not None]
    assert told == [etags[:2], [], etags[2:]]
