"""Maps a caller's `Idempotency-Key` to its response, so that a repeated request creates no second one.

A key is held like a conversation until its response exists: it is renewed while its request waits, and free if its
process has ended or does not renew it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict, replace

from hostedagent.errors import Busy
from hostedagent.identity import Caller
from hostedagent.stores.base import ABSENT, Etag, Key, Store, StoreConflict, StoreError, StoreUnavailable, Write
from hostedagent.stores.lease_settings import LeaseSettings
from hostedagent.stores.retry import Retries
from hostedagent.stores.values import dump_value, read_value

IDEMPOTENCY: Final = "idempotency"

ACCEPTING_SECONDS: Final = 60.0
"""Seconds for which it is tried to free what a request has used that was not accepted."""

KEPT_SECONDS: Final = 86400.0
"""Seconds that a key is kept."""


class KeyUse(Struct, frozen=True):
    """The request of a key.

    Args:
        digest: The hash of its body.
        used_at: When it was received, or last renewed while it waited, in seconds since the epoch.
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

    def __init__(self, store: Store, settings: LeaseSettings, retries: Retries) -> None:
        self._store = store
        self._settings = settings
        self._retries = retries

    async def has_ended(self, use: KeyUse) -> bool:
        """Whether the process that received a request has ended, or does not renew its use."""
        return await self._settings.has_ended(use.process, since=use.used_at)

    async def use(self, caller: Caller, key: str, digest: str, response_id: str) -> KeyUse:
        """Use a key for a request, unless it is already used; returns the use that counts."""
        use = KeyUse(digest, response_id, self._settings.clock(), await self._settings.liveness.name())
        try:
            await self._write(caller, key, use, ABSENT)
        except StoreConflict:
            return await self.find(caller, key) or await self.use(caller, key, digest, response_id)
        except BaseException:  # It may have been written, and no request follows.
            self._retries.start(partial(self.free, caller, key, response_id), seconds=ACCEPTING_SECONDS)
            raise
        return use

    async def find(self, caller: Caller, key: str) -> KeyUse | None:
        """The request of a key; `None` if the key is unused."""
        found = await read_value(self._store, caller, Key(IDEMPOTENCY, key))
        return KeyUse(**found.value) if found is not None else None

    async def release(self, caller: Caller, key: str) -> None:
        """Remove a key whose request created no response."""
        await self._store.delete(caller, [Key(IDEMPOTENCY, key)])

    @asynccontextmanager
    async def accepting(
        self,
        caller: Caller,
        key: str,
        response_id: str,
        exists: Callable[[str], Awaitable[bool]],
        forbid: Callable[[str], Awaitable[bool]],
    ) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
        """Renew a key while its request is accepted, and free it if that fails and has created no response.

        Args:
            exists: Whether a response exists.
            forbid: Makes sure that a response is not created any more; `False` if it exists. A write that failed
                may still be under way.

        Yields:
            A function to be called before the response is created. It raises `Busy` if another request has the key,
            because this process stood still for too long.
        """
        used_at, may_exist = self._settings.clock(), False

        async def confirm() -> None:
            nonlocal may_exist
            await extend()
            may_exist = True

        async def extend() -> None:
            nonlocal used_at
            if self._settings.is_due(used_at + self._settings.seconds):
                used_at = await self._extend(caller, key, response_id)

        async def renew() -> None:
            with suppress(Busy):
                while not await self._pause_until(partial(exists, response_id)):
                    with suppress(StoreError):
                        await extend()

        async def settle() -> None:
            if not may_exist or await forbid(response_id):
                await self.free(caller, key, response_id)

        renewal = asyncio.create_task(renew(), name="hostedagent-key")
        try:
            yield confirm
        except BaseException:
            try:
                await settle()
            except StoreUnavailable:
                self._retries.start(settle, seconds=ACCEPTING_SECONDS)
            raise
        finally:
            renewal.cancel()

    async def _pause_until(self, ended: Callable[[], Awaitable[bool]]) -> bool:
        """Wait until the next renewal; returns whether none is needed any more."""
        await self._settings.sleep(self._settings.renew_every)
        try:
            return await ended()
        except StoreError:
            return False

    async def free(self, caller: Caller, key: str, response_id: str) -> None:
        """Remove a key, unless another request has it."""
        found = await read_value(self._store, caller, Key(IDEMPOTENCY, key))
        if found is not None and found.value["response_id"] == response_id:
            with suppress(StoreConflict):
                await self._store.delete(caller, [Key(IDEMPOTENCY, key)], expect=found.etag)

    async def _extend(self, caller: Caller, key: str, response_id: str) -> float:
        """Renew a key; returns when that was. It may be renewed by this request at the same time."""
        while True:
            found, now = await read_value(self._store, caller, Key(IDEMPOTENCY, key)), self._settings.clock()
            if found is None or found.value["response_id"] != response_id:
                raise Busy(
                    "Another request with this Idempotency-Key or id is being accepted. Send it again in a moment."
                )
            with suppress(StoreConflict):
                await self._write(caller, key, replace(KeyUse(**found.value), used_at=now), found.etag)
                return now

    async def _write(self, caller: Caller, key: str, use: KeyUse, expect: Etag) -> None:
        value = dump_value(IDEMPOTENCY, asdict(use))
        await self._store.write(caller, [Write(Key(IDEMPOTENCY, key), value, expect, KEPT_SECONDS)])
