# ruff: noqa: D102 (the names of the tests are their sentences)
"""The contract of a `Store` as a test suite: subclass it, provide your store, and run pytest.

```python
class TestMyStore(StoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        async with MyStore() as store:
            yield store
```

This needs pytest-asyncio in auto mode. Two more fixtures may be overridden; the tests that need them are skipped
otherwise: `other`, a second store object over the same data, as another process would have one, and `pass_time`, which
lets a fraction of a record's lifetime pass.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import pytest

from hostedagent.identity import Caller, Scope
from hostedagent.stores.base import ABSENT, Etag, Key, Record, Store, StoreConflict, StoreTooLarge, Write

PassTime: TypeAlias = Callable[[float], None]

ANN: Final = Caller(Scope("user:ann"))
BOB: Final = Caller(Scope("user:bob"))
CHAT: Final = Caller(Scope("user:ann", "chat"))

K: Final = Key("session", "k")

_VALUES: Final[dict[str, bytes]] = {
    "empty": b"",
    "json": b'{"a": [1, {"b": null}]}',
    "compact-json": b'{"a":[1,{"b":null}]}',
    "list": b"[1,2]",
    "scalar": b"1",
    "spaces": b' {"n":1}\n',
    "unicode": "Grüße 👩‍👩‍👧 \u202e e\u0301 \u00e9".encode(),
    "escapes": b'"\\/\n\r\t</script>\\u0041',
    "escaped-nul": b'{"a":"\\u0000"}',
    "half-a-pair": b'{"broken":"\\ud83d"}',
    "big-integers": b'{"big":1208925819614629174706176,"beyond-doubles":9007199254740993}',
    "floats": b'{"tenth":0.1,"tiny":5e-324,"whole":1.0,"other":1.00}',
    "repeated-names": b'{"a":1,"a":2}',
    "not-utf-8": b"\xff\xfe\x00binary\x80",
    "every-byte": bytes(range(256)),
}

_NAMES: Final = {
    "empty": "",
    "space": " ",
    "path": "../../etc/passwd",
    "slash": "/",
    "dots": "..",
    "nul": "a\x00b",
    "newline": "a\nb",
    "percent": "%2e%2e%2f",
    "unicode": "Schlüssel-鍵-🔑",
    "half-a-pair": "\ud83d",
    "long": "k" * 5000,
    "long-unicode": "鍵" * 2000,
    "reserved": "CON",
}

_ALIKE: Final = [
    (ANN.scope, "session", "ab"),
    (ANN.scope, "session", "a"),
    (ANN.scope, "sessiona", "b"),
    (ANN.scope, "sessio", "nab"),
    (ANN.scope, "", "sessionab"),
    (ANN.scope, "sessionab", ""),
    (ANN.scope, "session/a", "b"),
    (ANN.scope, "session", "/ab"),
    (ANN.scope, "Session", "ab"),
    (ANN.scope, "session", "AB"),
    (ANN.scope, "session", "ab "),
    (ANN.scope, "session", "ab\x00"),
    (Scope("user:ann", ""), "session", "ab"),
    (Scope("user:ann", "chat"), "session", "ab"),
    (Scope("user:ann+chat"), "session", "ab"),
    (Scope("user:annsession"), "ab", ""),
    (Scope("user:an"), "nsession", "ab"),
    (Scope("user:Ann"), "session", "ab"),
    (Scope(""), "session", "ab"),
    (Scope("", ""), "session", "ab"),
    (BOB.scope, "session", "ab"),
]


async def _get(store: Store, key: Key = K, caller: Caller = ANN) -> Record | None:
    (record,) = await store.read(caller, [key])
    return record


async def _put(
    store: Store,
    value: bytes,
    *,
    key: Key = K,
    caller: Caller = ANN,
    expect: Etag | None = None,
    ttl: float | None = None,
) -> Etag:
    (etag,) = await store.write(caller, [Write(key, value, expect, ttl)])
    return etag


async def _increment(store: Store) -> None:
    """Add one, by reading and a conditional write, until the write succeeds."""
    while True:
        record = await _get(store)
        count, expect = (int(record.value), record.etag) if record is not None else (0, ABSENT)
        with contextlib.suppress(StoreConflict):
            await _put(store, b"%d" % (count + 1), expect=expect)
            return


class StoreContract:
    """The guarantees of every `Store`. Subclass it with a fixture `store`; see the module."""

    pytestmark = pytest.mark.asyncio

    concurrency = 50
    """Tasks that contend for one record; override it with fewer for a slow store."""

    has_transactions = True
    """Whether a write of several records is all or nothing."""

    max_bytes = 2_000_000
    """A size of value that the store accepts."""

    refused_bytes: int | None = None
    """A size of value that the store refuses with `StoreTooLarge`; `None` where there is no such bound."""

    @pytest.fixture
    def store(self) -> Store:
        """The store under test, empty."""
        raise NotImplementedError("Override the fixture `store`.")

    @pytest.fixture
    def other(self) -> Store | None:
        """A second object over the same data; `None` skips what needs it."""
        return None

    @pytest.fixture
    def pass_time(self) -> PassTime | None:
        """Lets a fraction of a record's lifetime pass for `store`; `None` skips what needs it."""
        return None

    # --- one record

    async def test_a_key_that_was_never_written_has_no_record(self, store: Store) -> None:
        assert await _get(store) is None

    async def test_a_record_is_read_as_it_was_written_with_the_etag_of_the_write(self, store: Store) -> None:
        etag = await _put(store, b"1")
        assert etag != ABSENT
        assert await _get(store) == Record(b"1", etag)

    async def test_a_write_without_expectation_replaces_the_record(self, store: Store) -> None:
        await _put(store, b"a long value")
        etag = await _put(store, b"b")
        assert await _get(store) == Record(b"b", etag)

    async def test_a_deleted_record_is_gone(self, store: Store) -> None:
        await _put(store, b"1")
        await store.delete(ANN, [K])
        assert await _get(store) is None

    async def test_deleting_what_does_not_exist_does_nothing(self, store: Store) -> None:
        other = Key("session", "other")
        await store.delete(ANN, [K])
        etag = await _put(store, b"1", key=other)
        await store.delete(ANN, [K])
        assert await _get(store, other) == Record(b"1", etag)

    @pytest.mark.parametrize("name", _VALUES)
    async def test_any_bytes_come_back_exactly(self, store: Store, name: str) -> None:
        etag = await _put(store, _VALUES[name])
        assert await _get(store) == Record(_VALUES[name], etag)

    @pytest.mark.parametrize("name", _NAMES)
    async def test_any_string_is_a_name(self, store: Store, name: str) -> None:
        key = Key("session", _NAMES[name])
        etag = await _put(store, name.encode(), key=key, expect=ABSENT)
        assert await _get(store, key) == Record(name.encode(), etag)
        await store.delete(ANN, [key], expect=etag)
        assert await _get(store, key) is None

    @pytest.mark.parametrize("name", _NAMES)
    async def test_any_string_is_a_kind(self, store: Store, name: str) -> None:
        key = Key(_NAMES[name], "k")
        etag = await _put(store, name.encode(), key=key)
        assert await _get(store, key) == Record(name.encode(), etag)
        assert await _get(store) is None

    # --- sizes

    async def test_a_large_value_is_kept(self, store: Store) -> None:
        for letter in ("x", "ü"):
            value = (letter * (self.max_bytes // len(letter.encode()))).encode()
            etag = await _put(store, value)
            assert await _get(store) == Record(value, etag)

    async def test_a_value_that_is_too_large_is_refused_and_changes_nothing(self, store: Store) -> None:
        if self.refused_bytes is None:
            pytest.skip("the store has no bound")
        etag = await _put(store, b"1")
        with pytest.raises(StoreTooLarge):
            await _put(store, b"x" * self.refused_bytes)
        assert await _get(store) == Record(b"1", etag)

    # --- several records

    async def test_many_records_are_read_in_the_order_of_their_keys(self, store: Store) -> None:
        keys = [Key("item", f"{n}") for n in range(30)]
        etags = await store.write(ANN, [Write(key, key.name.encode()) for key in keys])
        records = {key: Record(key.name.encode(), etag) for key, etag in zip(keys, etags, strict=True)}
        asked = [*reversed(keys), Key("item", "none"), keys[3], keys[3]]
        assert await store.read(ANN, asked) == [records.get(key) for key in asked]
        assert await store.read(ANN, []) == []
        assert await store.write(ANN, []) == []

    async def test_one_write_creates_replaces_and_erases(self, store: Store) -> None:
        first, second, third = (Key("item", name) for name in "abc")
        etag = await _put(store, b"1", key=first)
        await _put(store, b"2", key=second)
        etags = await store.write(ANN, [Write(first, b"3", etag), Write(second, None), Write(third, b"4", ABSENT)])
        assert etags[1] == ABSENT
        assert await store.read(ANN, [first, second, third]) == [Record(b"3", etags[0]), None, Record(b"4", etags[2])]

    async def test_a_write_of_several_records_that_conflicts_changes_none(self, store: Store) -> None:
        if not self.has_transactions:
            pytest.skip("the store has no transactions")
        keys = [Key("item", name) for name in "abc"]
        before = await _put(store, b"old", key=keys[0])
        for first in (b"new", None):
            doomed = [Write(keys[0], first), Write(keys[1], b"new", "no-such-etag"), Write(keys[2], b"new")]
            with pytest.raises(StoreConflict):
                await store.write(ANN, doomed)
            assert await store.read(ANN, keys) == [Record(b"old", before), None, None]

    async def test_deleting_several_records_erases_all(self, store: Store) -> None:
        keys = [Key("item", name) for name in "abc"]
        await store.write(ANN, [Write(key, b"1") for key in keys])
        await store.delete(ANN, [*keys[:2], Key("item", "none")])
        assert [record is None for record in await store.read(ANN, keys)] == [True, True, False]

    # --- compare and set

    async def test_a_record_is_created_only_where_none_is(self, store: Store) -> None:
        etag = await _put(store, b"1", expect=ABSENT)
        with pytest.raises(StoreConflict):
            await _put(store, b"2", expect=ABSENT)
        assert await _get(store) == Record(b"1", etag)

    async def test_a_record_is_replaced_only_by_the_reader_of_its_last_version(self, store: Store) -> None:
        first = await _put(store, b"1")
        second = await _put(store, b"2", expect=first)
        assert second != first
        with pytest.raises(StoreConflict):
            await _put(store, b"3", expect=first)
        assert await _get(store) == Record(b"2", second)

    async def test_writing_the_same_value_again_is_a_new_version(self, store: Store) -> None:
        first = await _put(store, b"1")
        await _put(store, b"1")
        with pytest.raises(StoreConflict):
            await _put(store, b"2", expect=first)

    async def test_an_etag_does_not_outlive_its_record(self, store: Store) -> None:
        etag = await _put(store, b"1")
        await store.delete(ANN, [K])
        with pytest.raises(StoreConflict):
            await _put(store, b"2", expect=etag)
        assert await _get(store) is None
        await _put(store, b"1", expect=ABSENT)
        with pytest.raises(StoreConflict):
            await _put(store, b"2", expect=etag)

    async def test_an_etag_of_nothing_is_a_conflict(self, store: Store) -> None:
        with pytest.raises(StoreConflict):
            await _put(store, b"1", expect="no-such-etag")
        await _put(store, b"1")
        with pytest.raises(StoreConflict):
            await _put(store, b"2", expect="no-such-etag")

    async def test_a_record_is_deleted_only_by_the_reader_of_its_last_version(self, store: Store) -> None:
        first = await _put(store, b"1")
        second = await _put(store, b"2")
        with pytest.raises(StoreConflict):
            await store.delete(ANN, [K], expect=first)
        with pytest.raises(StoreConflict):
            await store.delete(ANN, [K], expect=ABSENT)
        assert await _get(store) == Record(b"2", second)
        await store.delete(ANN, [K], expect=second)
        assert await _get(store) is None

    async def test_deleting_nothing_with_an_expectation_checks_it(self, store: Store) -> None:
        await store.delete(ANN, [K], expect=ABSENT)
        with pytest.raises(StoreConflict):
            await store.delete(ANN, [K], expect="no-such-etag")

    # --- isolation

    async def test_equal_keys_of_other_scopes_and_kinds_are_other_records(self, store: Store) -> None:
        rows = [(Caller(scope), Key(kind, name)) for scope, kind, name in _ALIKE]
        etags = [await _put(store, b"%d" % n, key=key, caller=row, expect=ABSENT) for n, (row, key) in enumerate(rows)]
        for n, (caller, key) in enumerate(rows):
            assert await _get(store, key, caller) == Record(b"%d" % n, etags[n])

    async def test_a_delete_reaches_no_other_scope(self, store: Store) -> None:
        etags = {caller: await _put(store, b"1", caller=caller) for caller in (ANN, BOB, CHAT)}
        await store.delete(ANN, [K])
        found = {caller: await _get(store, caller=caller) for caller in (ANN, BOB, CHAT)}
        assert found == {ANN: None, BOB: Record(b"1", etags[BOB]), CHAT: Record(b"1", etags[CHAT])}

    # --- concurrency

    async def test_no_increment_is_lost_among_many_tasks(self, store: Store) -> None:
        await asyncio.gather(*(_increment(store) for _ in range(self.concurrency)))
        record = await _get(store)
        assert record is not None and record.value == b"%d" % self.concurrency

    async def test_exactly_one_of_many_creates(self, store: Store) -> None:
        writes = (_put(store, b"%d" % n, expect=ABSENT) for n in range(self.concurrency))
        answers = await asyncio.gather(*writes, return_exceptions=True)
        winners = [answer for answer in answers if isinstance(answer, str)]
        assert len(winners) == 1
        assert all(isinstance(answer, str | StoreConflict) for answer in answers)
        record = await _get(store)
        assert record is not None and record.etag == winners[0]

    async def test_exactly_one_of_many_deletes_a_version(self, store: Store) -> None:
        etag = await _put(store, b"1")
        deletes = (store.delete(ANN, [K], expect=etag) for _ in range(self.concurrency))
        answers: Sequence[BaseException | None] = await asyncio.gather(*deletes, return_exceptions=True)
        assert [answer for answer in answers if not isinstance(answer, StoreConflict)] == [None]

    async def test_a_second_store_sees_and_guards_the_same_records(self, store: Store, other: Store | None) -> None:
        if other is None:
            pytest.skip("no second store over the same data")
        etag = await _put(store, b"0", expect=ABSENT)
        assert await _get(other) == Record(b"0", etag)
        half = self.concurrency // 2
        await asyncio.gather(*(_increment(each) for each in (store, other) for _ in range(half)))
        record = await _get(other)
        assert record is not None and record.value == b"%d" % (half * 2)

    async def test_a_cancelled_write_happened_or_did_not(self, store: Store) -> None:
        for turns in range(12):
            key = Key("session", f"k{turns}")
            etag = await _put(store, b"1", key=key)
            task = asyncio.ensure_future(_put(store, b"2", key=key, expect=etag))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            record = await _get(store, key)
            assert record is not None and record.value in (b"1", b"2")
            assert (record.value == b"1") == (record.etag == etag)
            await _put(store, b"3", key=key, expect=record.etag)

    # --- lifetime

    async def test_a_record_expires(self, store: Store, pass_time: PassTime | None) -> None:
        if pass_time is None:
            pytest.skip("no way to pass time")
        etag = await _put(store, b"1")
        pass_time(0.9)
        assert await _get(store) is not None
        pass_time(0.2)
        assert await _get(store) is None
        with pytest.raises(StoreConflict):
            await _put(store, b"2", expect=etag)
        await _put(store, b"2", expect=ABSENT)

    async def test_every_write_starts_the_lifetime_again(self, store: Store, pass_time: PassTime | None) -> None:
        if pass_time is None:
            pytest.skip("no way to pass time")
        await _put(store, b"1")
        pass_time(0.7)
        etag = await _put(store, b"2")
        pass_time(0.7)
        assert await _get(store) == Record(b"2", etag)
