"""Side effects that run once per turn: their starts and results, in one record for each response.

The record is written before and after the effect. If the process dies in between, it is unknown whether the effect
happened; the tool must then decide, because only the called service knows.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from typing import Final
from weakref import WeakValueDictionary

from msgspec import structs

from hostedagent.errors import EffectUncertain
from hostedagent.identity import Caller, RequestContext, current_context, enter_context, leave_context
from hostedagent.observability.logging import log_failure
from hostedagent.protocol.types import Json
from hostedagent.stores.base import Key, Store, StoreError, Value
from hostedagent.stores.values import change_value

EFFECTS: Final = "effects"

logger = logging.getLogger(__name__)


class Effects:
    """The effects of the turns of one host.

    Args:
        was_deleted: Whether a response was deleted, with the record of its effects.
    """

    def __init__(self, store: Store, was_deleted: Callable[[Caller, str], Awaitable[bool]] | None = None) -> None:
        self._store = store
        self._was_deleted = was_deleted
        # Held by the calls that use or await them: a call that joins them must find the same lock.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._inside: dict[str, list[str]] = {}
        """For each effect that is being performed, those that are called inside it."""

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
            EffectUncertain: The effect started earlier, its result is not stored, and it must not be repeated.
            StoreError: Its start could not be stored; the effect has not run.
            TypeError: The key is no text; or the result is not JSON, and the effect has run.
            RuntimeError: It is called inside itself or an effect for which it waits, or the response was deleted.
        """
        if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance] - an application's
            raise TypeError(f"The key of an effect is a text, not {key!r:.80}: pass str(...) of it.")
        place = caller.scope.key(EFFECTS, response_id, key)
        with self._nested(key, place):
            async with self._lock(place):
                if (done := await self._begin(caller, response_id, key, repeats=repeats)) is not None:
                    return done["result"]
                with self._performing(place):
                    return await self._perform(caller, response_id, key, perform)

    @contextmanager
    def _nested(self, key: str, place: str) -> Generator[None]:
        """Record that the effect around this call waits for another one, and refuse what would wait for ever."""
        outer = (current_context() or RequestContext()).within
        around = self._inside.get(outer) if outer is not None else None
        if around is None:
            yield
            return
        if self._waits(place, outer):
            raise RuntimeError(
                f"The effect {key!r} would wait for itself: it is called inside itself, or inside an effect that it "
                "waits for. Give it a key of its own, or call it outside."
            )
        around.append(place)
        try:
            yield
        finally:
            around.remove(place)

    def _waits(self, place: str, other: str | None) -> bool:
        return place == other or any(self._waits(inner, other) for inner in self._inside.get(place, ()))

    @contextmanager
    def _performing(self, place: str) -> Generator[None]:
        self._inside[place] = []
        token = enter_context(structs.replace(current_context() or RequestContext(), within=place))
        try:
            yield
        finally:
            del self._inside[place]
            leave_context(token)

    def _lock(self, place: str) -> asyncio.Lock:
        return self._locks.setdefault(place, asyncio.Lock())

    async def _change(self, caller: Caller, response_id: str, change: Callable[[Value | None], Value | None]) -> None:
        """Change the record of a response: one call at a time, for all effects of a turn share it."""
        async with self._lock(caller.scope.key(EFFECTS, response_id)):
            await change_value(self._store, caller, Key(EFFECTS, response_id), change)

    async def delete(self, caller: Caller, response_id: str) -> None:
        """Erase the record of a response."""
        await self._store.delete(caller, [Key(EFFECTS, response_id)])

    async def _begin(self, caller: Caller, response_id: str, key: str, *, repeats: bool) -> dict[str, Json] | None:
        """Record the start of an effect, or return its entry if it has run."""
        done: dict[str, Json] | None = None
        is_first = False

        def begun(value: Value | None) -> Value | None:
            nonlocal done, is_first
            is_first, entries = value is None, value or {}
            entry = entries.get(key)
            done = entry if entry is not None and "result" in entry else None
            if done is not None:
                return None
            if entry is not None and not repeats:
                raise EffectUncertain(
                    f"The effect {key!r} of this turn began, and its result was never stored: nobody knows whether "
                    "it happened. Look it up, or pass repeats=True where running it twice does no harm."
                )
            return {**entries, key: {}}

        await self._change(caller, response_id, begun)
        if is_first:
            await self._check_kept(caller, response_id)
        return done

    async def _check_kept(self, caller: Caller, response_id: str) -> None:
        """Erase a new record if its response was deleted: the process stood still, or a task has outlived its turn."""
        is_gone = False
        if self._was_deleted is not None:
            with suppress(StoreError):  # Then it is taken for kept: its beginning is stored.
                is_gone = await self._was_deleted(caller, response_id)
        if is_gone:
            await self.delete(caller, response_id)
            raise RuntimeError("The response of this turn was deleted, so its effects do not run any more.")

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

        def noted(value: Value | None) -> Value | None:
            if value is None:
                return None  # The response was deleted.
            rest = {name: row for name, row in value.items() if name != key}
            return {**rest, key: entry} if entry is not None else rest

        try:
            await self._change(caller, response_id, noted)
        except StoreError as error:
            log_failure(logger, f"Storing the result of an effect of {response_id} failed", error)


def _as_stored(key: str, result: Json) -> Json:
    """The result as another process will read it."""
    try:
        return json.loads(json.dumps(result, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"The effect {key!r} has run, but its result is not JSON: return plain values.") from error
