"""Side effects that run once per turn: their starts and results, in one record for each response.

The record is written before and after the effect. If the process dies in between, it is unknown whether the effect
happened; the tool must then decide, because only the called service knows.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from hostedagent.errors import EffectUncertain
from hostedagent.identity import Caller
from hostedagent.observability.logging import log_failure
from hostedagent.protocol.types import Json
from hostedagent.stores.base import ABSENT, Key, Store, StoreConflict, StoreError, StoreUnavailable
from hostedagent.stores.values import read_value, write_value

EFFECTS: Final = "effects"

_ATTEMPTS: Final = 20

logger = logging.getLogger(__name__)


class Effects:
    """The effects of the turns of one host.

    Args:
        store: The store of the records.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._locks: dict[str, asyncio.Lock] = {}

    async def once(
        self,
        caller: Caller,
        response_id: str,
        key: str,
        perform: Callable[[], Awaitable[Json] | Json],
        *,
        repeats: bool = False,
    ) -> Json:
        """Run an effect unless the turn has run it, and return its result.

        Raises:
            EffectUncertain: The effect started in a process that ended, and must not be repeated.
            StoreError: Its start could not be stored; the effect has not run.
            TypeError: The result is not JSON; the effect has run.
        """
        place = caller.scope.key(EFFECTS, response_id, key)
        lock = self._locks.setdefault(place, asyncio.Lock())
        try:
            async with lock:
                if (done := await self._begin(caller, response_id, key, repeats=repeats)) is not None:
                    return done["result"]
                return await self._perform(caller, response_id, key, perform)
        finally:
            if not lock.locked():
                self._locks.pop(place, None)

    async def delete(self, caller: Caller, response_id: str) -> None:
        """Erase the record of a response."""
        await self._store.delete(caller, [Key(EFFECTS, response_id)])

    async def _begin(self, caller: Caller, response_id: str, key: str, *, repeats: bool) -> dict[str, Json] | None:
        """Record the start of an effect, or return its entry if it has run."""
        for _ in range(_ATTEMPTS):
            entries, etag = await self._read(caller, response_id)
            entry = entries.get(key)
            if entry is not None and "result" in entry:
                return entry
            if entry is not None and not repeats:
                raise EffectUncertain(
                    f"The effect {key!r} of this turn began in a process that ended, and nobody knows whether it "
                    "happened: look it up, or pass repeats=True where running it twice does no harm."
                )
            try:
                await self._write(caller, response_id, {**entries, key: {}}, etag)
            except StoreConflict:
                continue
            return None
        raise StoreUnavailable("The effects of the turn are changed by too many others at once.")

    async def _perform(
        self, caller: Caller, response_id: str, key: str, perform: Callable[[], Awaitable[Json] | Json]
    ) -> Json:
        try:
            result = perform()
            if inspect.isawaitable(result):
                result = await result
        except Exception:
            await self._note(caller, response_id, key, None)
            raise
        result = _as_stored(key, result)
        await self._note(caller, response_id, key, {"result": result})
        return result

    async def _note(self, caller: Caller, response_id: str, key: str, entry: dict[str, Json] | None) -> None:
        """Record the result of an effect. If that fails, the effect is uncertain for later processes only."""
        try:
            for _ in range(_ATTEMPTS):
                entries, etag = await self._read(caller, response_id)
                rest = {name: value for name, value in entries.items() if name != key}
                try:
                    await self._write(caller, response_id, {**rest, key: entry} if entry is not None else rest, etag)
                except StoreConflict:
                    continue
                return
        except StoreError as error:
            log_failure(logger, f"Storing the result of an effect of {response_id} failed", error)

    async def _read(self, caller: Caller, response_id: str) -> tuple[dict[str, dict[str, Json]], str]:
        stored = await read_value(self._store, caller, Key(EFFECTS, response_id))
        return (dict(stored.value), stored.etag) if stored is not None else ({}, ABSENT)

    async def _write(self, caller: Caller, response_id: str, entries: dict[str, dict[str, Json]], etag: str) -> None:
        await write_value(self._store, caller, Key(EFFECTS, response_id), entries, expect=etag)


def _as_stored(key: str, result: Json) -> Json:
    """The result as another process will read it."""
    try:
        return json.loads(json.dumps(result, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"The effect {key!r} has run, but its result is not JSON: return plain values.") from error
