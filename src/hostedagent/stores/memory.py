"""State in memory, bounded in entries and bytes: what was not touched for longest goes first; all have a lifetime.

Values are held as JSON text, so nothing that a caller holds is shared with the store.
"""

from __future__ import annotations

import itertools
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from hostedagent.identity import Scope
from hostedagent.stores.base import ABSENT, DEFAULT_TTL, Etag, StateConflict, Value, Versioned, value_to_json


@dataclass(frozen=True, slots=True)
class _Entry:
    owner: str
    kind: str
    key: str
    text: str
    etag: Etag
    expires_at: float


class MemoryStateStore:
    """A `StateStore` that ends with the process.

    Args:
        max_entries: How many values are kept.
        max_bytes: How much JSON text is kept, in bytes.
        ttl: Seconds that a value lives after its last write.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        *,
        max_entries: int = 100_000,
        max_bytes: int = 256 * 1024 * 1024,
        ttl: float = DEFAULT_TTL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._ttl = ttl
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._versions = itertools.count(1)

    async def get(self, scope: Scope, kind: str, key: str) -> Versioned | None:
        """The value, or `None`."""
        entry = self._entry(scope, kind, key)
        return Versioned(json.loads(entry.text), entry.etag) if entry is not None else None

    async def put(self, scope: Scope, kind: str, key: str, value: Value, *, expect: Etag | None = None) -> Etag:
        """Write; raises `StateConflict` when `expect` does not stand, `StateTooLarge` when the value is too big."""
        text = value_to_json(kind, value)
        self._check(scope, kind, key, expect)
        etag = str(next(self._versions))
        place = scope.key(kind, key)
        self._drop(place)
        self._entries[place] = _Entry(scope.key(), kind, key, text, etag, self._clock() + self._ttl)
        self._bytes += len(text)
        while len(self._entries) > self._max_entries or (self._bytes > self._max_bytes and len(self._entries) > 1):
            self._drop(next(iter(self._entries)))
        return etag

    async def delete(self, scope: Scope, kind: str, key: str, *, expect: Etag | None = None) -> None:
        """Remove the value; raises `StateConflict` when `expect` does not stand."""
        if expect is not None:
            self._check(scope, kind, key, expect)
        self._drop(scope.key(kind, key))

    async def keys(self, scope: Scope, kind: str) -> AsyncIterator[str]:
        """The keys of a kind."""
        owner, now = scope.key(), self._clock()
        for entry in list(self._entries.values()):
            if entry.owner == owner and entry.kind == kind and entry.expires_at > now:
                yield entry.key

    def _entry(self, scope: Scope, kind: str, key: str) -> _Entry | None:
        place = scope.key(kind, key)
        entry = self._entries.get(place)
        if entry is None:
            return None
        if entry.expires_at <= self._clock():
            self._drop(place)
            return None
        self._entries.move_to_end(place)
        return entry

    def _drop(self, place: str) -> None:
        entry = self._entries.pop(place, None)
        if entry is not None:
            self._bytes -= len(entry.text)

    def _check(self, scope: Scope, kind: str, key: str, expect: Etag | None) -> None:
        if expect is None:
            return
        entry = self._entry(scope, kind, key)
        if (entry.etag if entry is not None else ABSENT) != expect:
            raise StateConflict(f"The value of {kind!r} changed since it was read.")
