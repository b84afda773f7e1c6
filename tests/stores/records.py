"""Stores for tests: records read and written as values, and a store whose calls are watched."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hostedagent.identity import Caller, Scope
from hostedagent.stores.base import Etag, Key, Record, Store, Value, Write
from hostedagent.stores.values import Versioned, read_value, write_value


async def get(store: Store, scope: Scope, kind: str, name: str) -> Versioned | None:
    return await read_value(store, Caller(scope), Key(kind, name))


async def put(store: Store, scope: Scope, kind: str, name: str, value: Value, *, expect: Etag | None = None) -> Etag:
    return await write_value(store, Caller(scope), Key(kind, name), value, expect=expect)


async def delete(store: Store, scope: Scope, kind: str, name: str) -> None:
    await store.delete(Caller(scope), [Key(kind, name)])


def value_of(write: Write) -> Value:
    """The value that a write contains; none where it erases."""
    return json.loads(write.value) if write.value is not None else {}


class WatchedStore:
    """A store around another one, to be subclassed. It remembers which keys exist, by scope and kind."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self._names: dict[tuple[Scope, str], dict[str, None]] = {}

    def keys(self, scope: Scope, kind: str) -> list[str]:
        """The names of a kind that were written and not erased."""
        return list(self._names.get((scope, kind), ()))

    async def read(self, caller: Caller, keys: Sequence[Key]) -> list[Record | None]:
        return await self.inner.read(caller, keys)

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        etags = await self.inner.write(caller, writes)
        for write in writes:
            names = self._names.setdefault((caller.scope, write.key.kind), {})
            if write.value is None:
                names.pop(write.key.name, None)
            else:
                names[write.key.name] = None
        return etags

    async def delete(self, caller: Caller, keys: Sequence[Key], *, expect: Etag | None = None) -> None:
        await self.inner.delete(caller, keys, expect=expect)
        for key in keys:
            self._names.get((caller.scope, key.kind), {}).pop(key.name, None)
