"""Records in memory, bounded in number and bytes: the least recently used are evicted first, and all expire."""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from hostedagent.identity import Caller
from hostedagent.stores.base import ABSENT, DEFAULT_TTL, Etag, Key, Record, StoreConflict, Write

_OVERHEAD = 400
"""Overhead of a record in bytes."""


_Place: TypeAlias = tuple[str, str | None, str, str]


class _Entry(NamedTuple):
    record: Record
    expires_at: float


class MemoryStore:
    """A `Store` that ends with the process.

    Args:
        max_bytes: Maximum size of all records in bytes.
        retention: Seconds that a record lives after its last write.
        clock: A monotonic clock, in seconds.
    """

    is_transactional = True

    def __init__(
        self,
        *,
        max_bytes: int = 512 * 1024 * 1024,
        retention: float = DEFAULT_TTL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._retention = retention
        self._clock = clock
        self._entries: OrderedDict[_Place, _Entry] = OrderedDict()
        self._versions = itertools.count(1)

    async def read(self, caller: Caller, keys: Sequence[Key]) -> list[Record | None]:
        """The records in the order of the keys."""
        return [self._read(_place(caller, key)) for key in keys]

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        """Write all records, or none if an `expect` does not match."""
        places = [_place(caller, write.key) for write in writes]
        for place, write in zip(places, writes, strict=True):
            if write.expect is not None:
                self._check(place, write.key, write.expect)
        now = self._clock()
        etags = [self._write(place, write, now) for place, write in zip(places, writes, strict=True)]
        while self._bytes > self._max_bytes and len(self._entries) > 1:
            self._drop(next(iter(self._entries)))
        return etags

    async def delete(self, caller: Caller, keys: Sequence[Key], *, expect: Etag | None = None) -> None:
        """Erase the records."""
        for key in keys:
            place = _place(caller, key)
            if expect is not None:
                self._check(place, key, expect)
            self._drop(place)

    def _write(self, place: _Place, write: Write, now: float) -> Etag:
        if place in self._entries:
            self._drop(place)
        if write.value is None:
            return ABSENT
        etag = str(next(self._versions))
        ttl = self._retention if write.ttl is None else write.ttl
        self._entries[place] = _Entry(Record(write.value, etag), now + ttl)
        self._bytes += len(write.value) + _OVERHEAD
        return etag

    def _read(self, place: _Place) -> Record | None:
        entry = self._entries.get(place)
        if entry is None:
            return None
        if entry.expires_at <= self._clock():
            self._drop(place)
            return None
        self._entries.move_to_end(place)
        return entry.record

    def _drop(self, place: _Place) -> None:
        entry = self._entries.pop(place, None)
        if entry is not None:
            self._bytes -= len(entry.record.value) + _OVERHEAD

    def _check(self, place: _Place, key: Key, expect: Etag) -> None:
        record = self._read(place)
        if (record.etag if record is not None else ABSENT) != expect:
            raise StoreConflict(f"The record of kind {key.kind!r} changed since it was read.")


def _place(caller: Caller, key: Key) -> _Place:
    scope = caller.scope
    return scope.user, scope.chat, key.kind, key.name  # Not the `Scope`: it computes its hash each time.
