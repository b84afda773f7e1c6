"""A store whose calls are timed: `hostedagent.store.duration`. Repositories of responses time their own calls."""

from __future__ import annotations

from collections.abc import Sequence

from hostedagent.identity import Caller
from hostedagent.observability.metrics import StoreCall
from hostedagent.stores.base import Etag, Key, Record, Store, Write
from hostedagent.stores.batch import is_transactional


class TimedStore:
    """A `Store` around another one."""

    def __init__(self, inner: Store) -> None:
        self.inner = self._inner = inner
        self.is_transactional = is_transactional(inner)

    async def read(self, caller: Caller, keys: Sequence[Key]) -> list[Record | None]:
        """The records in the order of the keys."""
        with StoreCall("state", "get"):
            return await self._inner.read(caller, keys)

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        """Write the records."""
        with StoreCall("state", "put"):
            return await self._inner.write(caller, writes)

    async def delete(self, caller: Caller, keys: Sequence[Key], *, expect: Etag | None = None) -> None:
        """Erase the records."""
        with StoreCall("state", "delete"):
            await self._inner.delete(caller, keys, expect=expect)
