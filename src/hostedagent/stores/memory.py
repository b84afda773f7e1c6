"""Records in memory, bounded in number and bytes: the least recently used are evicted first, and all expire."""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hostedagent.identity import Caller
from hostedagent.off_loop import off_loop
from hostedagent.stores.base import ABSENT, DEFAULT_TTL, Etag, Key, Record, StoreConflict, Write

_OVERHEAD = 400
"""What a record costs beside its value, in bytes."""


@dataclass(frozen=True, slots=True)
class _Entry:
    record: Record
    expires_at: float


class MemoryStore:
    """A `Store` that ends with the process.

    Args:
        max_bytes: How much memory the records may take.
        retention: Seconds that a record lives after its last write.
        clock: Seconds that only grow.
    """

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
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._versions = itertools.count(1)

    async def read(self, caller: Caller, keys: Sequence[Key]) -> list[Record | None]:
        """The records in the order of the keys."""
        return [self._read(place) for place in await _places(caller, keys)]

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        """Write all records, or none when an `expect` does not match."""
        places = await _places(caller, [write.key for write in writes])
        for place, write in zip(places, writes, strict=True):
            self._check(place, write.key, write.expect)
        etags = [self._write(place, write) for place, write in zip(places, writes, strict=True)]
        while self._bytes > self._max_bytes and len(self._entries) > 1:
            self._drop(next(iter(self._entries)))
        return etags

    async def delete(self, caller: Caller, keys: Sequence[Key], *, expect: Etag | None = None) -> None:
        """Erase the records."""
        for key in keys:
            place = caller.scope.key(*key)
            self._check(place, key, expect)
            self._drop(place)

    def _write(self, place: str, write: Write) -> Etag:
        self._drop(place)
        if write.value is None:
            return ABSENT
        etag = str(next(self._versions))
        ttl = self._retention if write.ttl is None else write.ttl
        self._entries[place] = _Entry(Record(write.value, etag), self._clock() + ttl)
        self._bytes += len(write.value) + _OVERHEAD
        return etag

    def _read(self, place: str) -> Record | None:
        entry = self._entries.get(place)
        if entry is None:
            return None
        if entry.expires_at <= self._clock():
            self._drop(place)
            return None
        self._entries.move_to_end(place)
        return entry.record

    def _drop(self, place: str) -> None:
        entry = self._entries.pop(place, None)
        if entry is not None:
            self._bytes -= len(entry.record.value) + _OVERHEAD

    def _check(self, place: str, key: Key, expect: Etag | None) -> None:
        if expect is None:
            return
        record = self._read(place)
        if (record.etag if record is not None else ABSENT) != expect:
            raise StoreConflict(f"The record of kind {key.kind!r} changed since it was read.")


async def _places(caller: Caller, keys: Sequence[Key]) -> list[str]:
    return await off_loop(len(keys), lambda: [caller.scope.key(*key) for key in keys])
