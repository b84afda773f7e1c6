# ruff: noqa: D102 (the names of the tests are their sentences)
"""The contract of a `StateStore` as a test suite: subclass it, give it your store, and run pytest.

```python
class TestMyStore(StateStoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[StateStore]:
        async with MyStore() as store:
            yield store
```

This needs pytest-asyncio in auto mode. Two more fixtures may be overridden; what needs them is skipped otherwise:
`other`, a second store object over the same data, as another process would have one, and `pass_time`, which lets a
fraction of a value's lifetime pass.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from typing import Final, TypeAlias, cast

import pytest

from hostedagent.identity import Scope
from hostedagent.protocol.types import Json
from hostedagent.stores.base import (
    ABSENT,
    MAX_VALUE_BYTES,
    StateConflict,
    StateStore,
    StateTooLarge,
    Versioned,
)

PassTime: TypeAlias = Callable[[float], None]

ANN: Final = Scope("user:ann")
BOB: Final = Scope("user:bob")

_VALUES: Final[dict[str, dict[str, Json]]] = {
    "empty": {},
    "nested": {"a": [{"b": [[], {}, [None]]}], "": {"": ""}},
    "null": {"none": None, "false": False, "zero": 0, "empty": ""},
    "unicode": {"Grüße 👩‍👩‍👧 \u202e": "a\u0000b\u2028c\x7f", "e\u0301": "\u00e9"},
    "escapes": {'"\\/\n\r\t': "</script>\\u0041"},
    "half-a-pair": {"broken": "\ud83d"},
    "integers": {"big": 2**80, "negative": -(2**63) - 1, "beyond-doubles": 2**53 + 1},
    "floats": {"tenth": 0.1, "tiny": 5e-324, "huge": 1.7976931348623157e308, "whole": 1.0},
}

_KEYS: Final = {
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
    (ANN, "session", "ab"),
    (ANN, "session", "a"),
    (ANN, "sessiona", "b"),
    (ANN, "sessio", "nab"),
    (ANN, "", "sessionab"),
    (ANN, "sessionab", ""),
    (ANN, "session/a", "b"),
    (ANN, "session", "/ab"),
    (ANN, "Session", "ab"),
    (ANN, "session", "AB"),
    (ANN, "session", "ab "),
    (ANN, "session", "ab\x00"),
    (Scope("user:ann", ""), "session", "ab"),
    (Scope("user:ann", "chat"), "session", "ab"),
    (Scope("user:ann+chat"), "session", "ab"),
    (Scope("user:annsession"), "ab", ""),
    (Scope("user:an"), "nsession", "ab"),
    (Scope("user:Ann"), "session", "ab"),
    (Scope(""), "session", "ab"),
    (Scope("", ""), "session", "ab"),
    (BOB, "session", "ab"),
]


async def _found(store: StateStore, scope: Scope, kind: str, key: str) -> Versioned:
    found = await store.get(scope, kind, key)
    assert found is not None, f"no value of {kind!r} at {key[:40]!r}"
    return found


async def _keys(store: StateStore, scope: Scope, kind: str) -> list[str]:
    return sorted([key async for key in store.keys(scope, kind)])


async def _increment(store: StateStore, key: str) -> None:
    """Add one, by reading and a conditional write, until the write stands."""
    while True:
        found = await store.get(ANN, "counter", key)
        count = cast("int", found.value["count"]) if found is not None else 0
        try:
            await store.put(
                ANN, "counter", key, {"count": count + 1}, expect=found.etag if found is not None else ABSENT
            )
        except StateConflict:
            continue
        return


class StateStoreContract:
    """What every `StateStore` keeps. Subclass it with a fixture `store`; see the module."""

    pytestmark = pytest.mark.asyncio

    concurrency = 50
    """How many tasks contend for one value; fewer for a store that is slow."""

    @pytest.fixture
    def store(self) -> StateStore:
        """The store under test, empty."""
        raise NotImplementedError("Override the fixture `store`.")

    @pytest.fixture
    def other(self) -> StateStore | None:
        """A second object over the same data; `None` skips what needs it."""
        return None

    @pytest.fixture
    def pass_time(self) -> PassTime | None:
        """Lets a fraction of a value's lifetime pass for `store`; `None` skips what needs it."""
        return None

    # --- one value

    async def test_a_key_that_was_never_written_has_no_value(self, store: StateStore) -> None:
        assert await store.get(ANN, "session", "k") is None
        assert await _keys(store, ANN, "session") == []

    async def test_a_value_is_read_as_it_was_written_with_the_etag_of_the_write(self, store: StateStore) -> None:
        etag = await store.put(ANN, "session", "k", {"n": 1})
        assert await store.get(ANN, "session", "k") == Versioned({"n": 1}, etag)

    async def test_a_write_without_expectation_replaces_the_whole_value(self, store: StateStore) -> None:
        await store.put(ANN, "session", "k", {"a": 1, "b": 2})
        await store.put(ANN, "session", "k", {"b": 3})
        assert (await _found(store, ANN, "session", "k")).value == {"b": 3}

    async def test_a_deleted_value_is_gone(self, store: StateStore) -> None:
        await store.put(ANN, "session", "k", {"n": 1})
        await store.delete(ANN, "session", "k")
        assert await store.get(ANN, "session", "k") is None
        assert await _keys(store, ANN, "session") == []

    async def test_deleting_what_is_not_there_does_nothing(self, store: StateStore) -> None:
        await store.delete(ANN, "session", "k")
        await store.put(ANN, "session", "other", {"n": 1})
        await store.delete(ANN, "session", "k")
        assert await _keys(store, ANN, "session") == ["other"]

    @pytest.mark.parametrize("name", _VALUES)
    async def test_json_comes_back_exactly(self, store: StateStore, name: str) -> None:
        value = _VALUES[name]
        await store.put(ANN, "session", "k", value)
        found = (await _found(store, ANN, "session", "k")).value
        assert json.dumps(found, sort_keys=True) == json.dumps(value, sort_keys=True)

    async def test_a_value_that_is_not_json_is_refused_and_changes_nothing(self, store: StateStore) -> None:
        etag = await store.put(ANN, "session", "k", {"n": 1})
        for value in ({"n": object()}, {"n": float("nan")}, {"n": {1, 2}}):
            with pytest.raises(ValueError, match=r"session"):
                await store.put(ANN, "session", "k", value)
        assert await store.get(ANN, "session", "k") == Versioned({"n": 1}, etag)

    @pytest.mark.parametrize("name", _KEYS)
    async def test_any_string_is_a_key(self, store: StateStore, name: str) -> None:
        key = _KEYS[name]
        etag = await store.put(ANN, "session", key, {"name": name}, expect=ABSENT)
        assert (await _found(store, ANN, "session", key)).value == {"name": name}
        assert await _keys(store, ANN, "session") == [key]
        await store.delete(ANN, "session", key, expect=etag)
        assert await _keys(store, ANN, "session") == []

    @pytest.mark.parametrize("name", _KEYS)
    async def test_any_string_is_a_kind(self, store: StateStore, name: str) -> None:
        await store.put(ANN, _KEYS[name], "k", {"name": name})
        assert await _keys(store, ANN, _KEYS[name]) == ["k"]
        assert await _keys(store, ANN, "session") == []

    # --- ownership

    async def test_changing_a_written_value_changes_nothing_in_the_store(self, store: StateStore) -> None:
        value: dict[str, Json] = {"list": [1], "map": {"a": 1}}
        await store.put(ANN, "session", "k", value)
        before = copy.deepcopy(value)
        value["list"].append(2)
        value["map"]["a"] = 2
        assert (await _found(store, ANN, "session", "k")).value == before

    async def test_changing_a_read_value_changes_nothing_in_the_store(self, store: StateStore) -> None:
        await store.put(ANN, "session", "k", {"list": [1]})
        cast("dict[str, Json]", (await _found(store, ANN, "session", "k")).value)["list"].append(2)
        assert (await _found(store, ANN, "session", "k")).value == {"list": [1]}

    # --- sizes

    async def test_the_largest_value_is_kept(self, store: StateStore) -> None:
        value = {"text": "x" * (MAX_VALUE_BYTES - len('{"text":""}'))}
        await store.put(ANN, "session", "k", value)
        assert (await _found(store, ANN, "session", "k")).value == value

    async def test_the_largest_value_is_measured_in_utf8(self, store: StateStore) -> None:
        value = {"text": "ü" * ((MAX_VALUE_BYTES - 20) // 2)}
        await store.put(ANN, "session", "k", value)
        assert (await _found(store, ANN, "session", "k")).value == value

    @pytest.mark.parametrize("letter", ["x", "ü", "👍"])
    async def test_a_value_that_is_too_large_is_refused_and_changes_nothing(
        self, store: StateStore, letter: str
    ) -> None:
        etag = await store.put(ANN, "session", "k", {"n": 1})
        too_much = letter * (MAX_VALUE_BYTES // len(letter.encode()) - 2)
        with pytest.raises(StateTooLarge):
            await store.put(ANN, "session", "k", {"text": too_much})
        assert await store.get(ANN, "session", "k") == Versioned({"n": 1}, etag)

    # --- compare and set

    async def test_a_value_is_created_only_where_none_is(self, store: StateStore) -> None:
        etag = await store.put(ANN, "session", "k", {"n": 1}, expect=ABSENT)
        with pytest.raises(StateConflict):
            await store.put(ANN, "session", "k", {"n": 2}, expect=ABSENT)
        assert await store.get(ANN, "session", "k") == Versioned({"n": 1}, etag)

    async def test_a_value_is_replaced_only_by_who_read_its_last_version(self, store: StateStore) -> None:
        first = await store.put(ANN, "session", "k", {"n": 1})
        second = await store.put(ANN, "session", "k", {"n": 2}, expect=first)
        assert second != first
        with pytest.raises(StateConflict):
            await store.put(ANN, "session", "k", {"n": 3}, expect=first)
        assert await store.get(ANN, "session", "k") == Versioned({"n": 2}, second)

    async def test_writing_the_same_value_again_is_a_new_version(self, store: StateStore) -> None:
        first = await store.put(ANN, "session", "k", {"n": 1})
        await store.put(ANN, "session", "k", {"n": 1})
        with pytest.raises(StateConflict):
            await store.put(ANN, "session", "k", {"n": 2}, expect=first)

    async def test_an_etag_does_not_outlive_its_value(self, store: StateStore) -> None:
        etag = await store.put(ANN, "session", "k", {"n": 1})
        await store.delete(ANN, "session", "k")
        with pytest.raises(StateConflict):
            await store.put(ANN, "session", "k", {"n": 2}, expect=etag)
        assert await store.get(ANN, "session", "k") is None
        await store.put(ANN, "session", "k", {"n": 1}, expect=ABSENT)
        with pytest.raises(StateConflict):
            await store.put(ANN, "session", "k", {"n": 2}, expect=etag)

    async def test_an_etag_of_nothing_is_a_conflict(self, store: StateStore) -> None:
        with pytest.raises(StateConflict):
            await store.put(ANN, "session", "k", {"n": 1}, expect="no-such-etag")
        await store.put(ANN, "session", "k", {"n": 1})
        with pytest.raises(StateConflict):
            await store.put(ANN, "session", "k", {"n": 2}, expect="no-such-etag")

    async def test_a_value_is_deleted_only_by_who_read_its_last_version(self, store: StateStore) -> None:
        first = await store.put(ANN, "session", "k", {"n": 1})
        second = await store.put(ANN, "session", "k", {"n": 2})
        with pytest.raises(StateConflict):
            await store.delete(ANN, "session", "k", expect=first)
        with pytest.raises(StateConflict):
            await store.delete(ANN, "session", "k", expect=ABSENT)
        assert (await _found(store, ANN, "session", "k")).value == {"n": 2}
        await store.delete(ANN, "session", "k", expect=second)
        assert await store.get(ANN, "session", "k") is None

    async def test_deleting_nothing_with_an_expectation_checks_it(self, store: StateStore) -> None:
        await store.delete(ANN, "session", "k", expect=ABSENT)
        with pytest.raises(StateConflict):
            await store.delete(ANN, "session", "k", expect="no-such-etag")

    # --- isolation

    async def test_equal_keys_of_other_scopes_and_kinds_are_other_values(self, store: StateStore) -> None:
        etags = [
            await store.put(scope, kind, key, {"n": number}, expect=ABSENT)
            for number, (scope, kind, key) in enumerate(_ALIKE)
        ]
        for number, (scope, kind, key) in enumerate(_ALIKE):
            assert await store.get(scope, kind, key) == Versioned({"n": number}, etags[number])
        for scope, kind in {(scope, kind) for scope, kind, _ in _ALIKE}:
            expected = sorted(key for one, other, key in _ALIKE if (one, other) == (scope, kind))
            assert await _keys(store, scope, kind) == expected

    async def test_a_delete_reaches_no_other_scope(self, store: StateStore) -> None:
        for scope in (ANN, BOB, Scope("user:ann", "chat")):
            await store.put(scope, "session", "k", {"user": scope.user})
        await store.delete(ANN, "session", "k")
        assert await store.get(ANN, "session", "k") is None
        assert (await _found(store, BOB, "session", "k")).value == {"user": "user:bob"}
        assert (await _found(store, Scope("user:ann", "chat"), "session", "k")).value == {"user": "user:ann"}

    async def test_many_keys_are_all_listed_once(self, store: StateStore) -> None:
        names = [f"key-{number:03}" for number in range(130)]
        await asyncio.gather(*(store.put(ANN, "session", name, {"n": 1}) for name in names))
        await asyncio.gather(*(store.put(BOB, "session", f"bob-{number}", {"n": 1}) for number in range(5)))
        assert await _keys(store, ANN, "session") == names

    # --- concurrency

    async def test_no_increment_is_lost_among_many_tasks(self, store: StateStore) -> None:
        await asyncio.gather(*(_increment(store, "k") for _ in range(self.concurrency)))
        assert (await _found(store, ANN, "counter", "k")).value == {"count": self.concurrency}

    async def test_exactly_one_of_many_creates(self, store: StateStore) -> None:
        writes = (store.put(ANN, "session", "k", {"n": number}, expect=ABSENT) for number in range(self.concurrency))
        answers = await asyncio.gather(*writes, return_exceptions=True)
        winners = [answer for answer in answers if isinstance(answer, str)]
        assert len(winners) == 1
        assert all(isinstance(answer, str | StateConflict) for answer in answers)
        assert (await _found(store, ANN, "session", "k")).etag == winners[0]

    async def test_exactly_one_of_many_deletes_a_version(self, store: StateStore) -> None:
        etag = await store.put(ANN, "session", "k", {"n": 1})
        deletes = (store.delete(ANN, "session", "k", expect=etag) for _ in range(self.concurrency))
        answers = await asyncio.gather(*deletes, return_exceptions=True)
        assert [answer for answer in answers if not isinstance(answer, StateConflict)] == [None]

    async def test_a_second_store_sees_and_guards_the_same_values(
        self, store: StateStore, other: StateStore | None
    ) -> None:
        if other is None:
            pytest.skip("no second store over the same data")
        etag = await store.put(ANN, "session", "k", {"n": 1}, expect=ABSENT)
        assert await other.get(ANN, "session", "k") == Versioned({"n": 1}, etag)
        assert await _keys(other, ANN, "session") == ["k"]
        await asyncio.gather(*(_increment(each, "k") for each in (store, other) for _ in range(self.concurrency // 2)))
        assert (await _found(other, ANN, "counter", "k")).value == {"count": self.concurrency // 2 * 2}

    async def test_a_cancelled_write_happened_or_did_not(self, store: StateStore) -> None:
        for turns in range(12):
            key = f"k{turns}"
            etag = await store.put(ANN, "session", key, {"n": 1})
            task = asyncio.ensure_future(store.put(ANN, "session", key, {"n": 2}, expect=etag))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            found = await _found(store, ANN, "session", key)
            assert found.value in ({"n": 1}, {"n": 2})
            assert (found.value == {"n": 1}) == (found.etag == etag)
            await store.put(ANN, "session", key, {"n": 3}, expect=(await _found(store, ANN, "session", key)).etag)

    # --- lifetime

    async def test_a_value_ends_with_its_lifetime(self, store: StateStore, pass_time: PassTime | None) -> None:
        if pass_time is None:
            pytest.skip("no way to pass time")
        etag = await store.put(ANN, "session", "k", {"n": 1})
        pass_time(0.9)
        assert await store.get(ANN, "session", "k") is not None
        pass_time(0.2)
        assert await store.get(ANN, "session", "k") is None
        assert await _keys(store, ANN, "session") == []
        with pytest.raises(StateConflict):
            await store.put(ANN, "session", "k", {"n": 2}, expect=etag)
        await store.put(ANN, "session", "k", {"n": 2}, expect=ABSENT)

    async def test_every_write_starts_the_lifetime_anew(self, store: StateStore, pass_time: PassTime | None) -> None:
        if pass_time is None:
            pytest.skip("no way to pass time")
        await store.put(ANN, "session", "k", {"n": 1})
        pass_time(0.7)
        await store.put(ANN, "session", "k", {"n": 2})
        pass_time(0.7)
        assert (await _found(store, ANN, "session", "k")).value == {"n": 2}
        assert await _keys(store, ANN, "session") == ["k"]
