"""Maps a caller's `Idempotency-Key` to its response, so that a repeated request creates no second one."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final

from hostedagent.identity import Caller
from hostedagent.stores.base import ABSENT, Etag, Key, Liveness, Store, StoreConflict, StoreUnavailable, Write
from hostedagent.stores.retry import Retries
from hostedagent.stores.values import dump_value, read_value

IDEMPOTENCY: Final = "idempotency"

ACCEPTING_SECONDS: Final = 60.0
"""Seconds that a request may take from its key to its response; later, its process is considered dead."""

KEPT_SECONDS: Final = 86400.0
"""Seconds that a key is kept."""


@dataclass(frozen=True, slots=True)
class KeyUse:
    """The request of a key.

    Args:
        digest: The hash of its body.
        used_at: When it was received, in seconds since the epoch.
        process: The process that received it.
    """

    digest: str
    response_id: str
    used_at: float
    process: str = ""


class IdempotencyKeys:
    """The keys of each scope.

    Args:
        retries: Frees keys that could not be freed at once.
    """

    def __init__(self, store: Store, liveness: Liveness, retries: Retries) -> None:
        self._store = store
        self._liveness = liveness
        self._retries = retries

    async def has_ended(self, use: KeyUse) -> bool:
        """Whether the process that received a request has certainly ended."""
        return await self._liveness.is_dead(use.process)

    async def use(self, caller: Caller, key: str, digest: str, response_id: str) -> KeyUse:
        """Use a key for a request, unless it is already used; returns the use that counts."""
        use = KeyUse(digest, response_id, time.time(), await self._liveness.name())
        try:
            await self._write(caller, key, use, ABSENT)
        except StoreConflict:
            return await self.find(caller, key) or await self.use(caller, key, digest, response_id)
        except BaseException:  # It may have been written, and no request follows.
            self._retries.start(partial(self._free, caller, key, response_id), seconds=ACCEPTING_SECONDS)
            raise
        return use

    async def find(self, caller: Caller, key: str) -> KeyUse | None:
        """The request of a key; `None` if the key is unused."""
        found = await read_value(self._store, caller, Key(IDEMPOTENCY, key))
        return KeyUse(**found.value) if found is not None else None

    async def release(self, caller: Caller, key: str) -> None:
        """Remove a key whose request created no response."""
        await self._store.delete(caller, [Key(IDEMPOTENCY, key)])

    async def settle(
        self, caller: Caller, key: str, response_id: str, exists: Callable[[str], Awaitable[bool]]
    ) -> None:
        """Remove a key if its request created no response, at once or as soon as the store is available."""

        async def settled() -> None:
            if not await exists(response_id):
                await self._free(caller, key, response_id)

        try:
            await settled()
        except StoreUnavailable:
            self._retries.start(settled, seconds=ACCEPTING_SECONDS)

    async def _free(self, caller: Caller, key: str, response_id: str) -> None:
        found = await read_value(self._store, caller, Key(IDEMPOTENCY, key))
        if found is not None and found.value["response_id"] == response_id:
            await self._store.delete(caller, [Key(IDEMPOTENCY, key)], expect=found.etag)

    async def _write(self, caller: Caller, key: str, use: KeyUse, expect: Etag) -> None:
        value = dump_value(IDEMPOTENCY, asdict(use))
        await self._store.write(caller, [Write(Key(IDEMPOTENCY, key), value, expect, KEPT_SECONDS)])
