"""The metadata of conversations, and the list of a caller's conversations.

The lease and the head of a conversation are in `leases`; its items are those of its responses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final
from weakref import WeakValueDictionary

from msgspec import Struct, field

from hostedagent.identity import Caller, Scope
from hostedagent.stores.base import ABSENT, Etag, Key, Store, StoreConflict, StoreUnavailable, Value
from hostedagent.stores.values import ATTEMPTS, change_value, read_value, read_values, write_value

DESCRIPTION: Final = "conversation-description"
LISTED: Final = "conversations"

_NEWEST: Final = Key(LISTED, "")
_SEGMENT: Final = 256
"""Conversations per record of the list."""


class Description(Struct, frozen=True):
    """A conversation as its caller sees it.

    Args:
        created_at: When it was created, in seconds since the epoch.
    """

    conversation_id: str
    created_at: int
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


class _Page(Struct, frozen=True):
    """One record of the list; the newest one contains the number of full ones before it."""

    ids: tuple[str, ...] = ()
    full: int = 0
    etag: Etag = ABSENT


class Conversations:
    """Describes and lists the conversations of each scope."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._adding: WeakValueDictionary[Scope, asyncio.Lock] = WeakValueDictionary()

    async def begin(self, caller: Caller, conversation_id: str, metadata: Mapping[str, str] | None = None) -> None:
        """Describe and list a conversation, unless it already is.

        Raises:
            StoreUnavailable: It could not be stored.
        """
        value = {"created_at": int(time.time()), "metadata": dict(metadata or {})}
        await self._add(caller, conversation_id)  # First: one with a description would never be added again.
        with suppress(StoreConflict):
            await write_value(self._store, caller, Key(DESCRIPTION, conversation_id), value, expect=ABSENT)

    async def describe(self, caller: Caller, conversation_ids: Sequence[str]) -> list[Description | None]:
        """The conversations by id, `None` for each that has no description."""
        found = await read_values(self._store, caller, [Key(DESCRIPTION, name) for name in conversation_ids])
        return [
            Description(name, int(row.value["created_at"]), row.value["metadata"]) if row is not None else None
            for name, row in zip(conversation_ids, found, strict=True)
        ]

    async def update(self, caller: Caller, description: Description) -> None:
        """Replace the metadata; describes and lists a conversation that has no description."""
        value = {"created_at": description.created_at, "metadata": dict(description.metadata)}
        key = Key(DESCRIPTION, description.conversation_id)
        if await read_value(self._store, caller, key) is None:
            await self._add(caller, description.conversation_id)
        await write_value(self._store, caller, key, value)

    async def delete(self, caller: Caller, conversation_id: str) -> None:
        """Erase the description, and remove the conversation from the list."""
        await self._store.delete(caller, [Key(DESCRIPTION, conversation_id)])
        newest = await self._page(caller, _NEWEST)
        for key in (_NEWEST, *(_segment(n) for n in reversed(range(newest.full)))):
            if await self._drop(caller, key, conversation_id):
                return

    async def listed(self, caller: Caller) -> list[str]:
        """The ids of the caller's conversations, oldest first."""
        newest = await self._page(caller, _NEWEST)
        rows = await read_values(self._store, caller, [_segment(n) for n in range(newest.full)])
        return [name for row in rows if row is not None for name in row.value["ids"]] + list(newest.ids)

    async def _add(self, caller: Caller, conversation_id: str) -> None:
        lock = self._adding.setdefault(caller.scope, asyncio.Lock())
        async with lock:
            await self._add_alone(caller, conversation_id)

    async def _add_alone(self, caller: Caller, conversation_id: str) -> None:
        for _ in range(ATTEMPTS):
            newest = await self._page(caller, _NEWEST)
            if conversation_id in newest.ids:
                return
            ids, full = newest.ids, newest.full
            if len(ids) >= _SEGMENT:
                await write_value(self._store, caller, _segment(full), {"ids": list(ids)})
                ids, full = (), full + 1
            with suppress(StoreConflict):
                value = {"ids": [*ids, conversation_id], "full": full}
                await write_value(self._store, caller, _NEWEST, value, expect=newest.etag)
                return
        raise StoreUnavailable("The list of conversations is changed by too many others at once.")

    async def _drop(self, caller: Caller, key: Key, conversation_id: str) -> bool:
        is_dropped = False

        def without(value: Value | None) -> Value | None:
            nonlocal is_dropped
            is_dropped = value is not None and conversation_id in value["ids"]
            if value is None or not is_dropped:
                return None
            return {**value, "ids": [name for name in value["ids"] if name != conversation_id]}

        await change_value(self._store, caller, key, without)
        return is_dropped

    async def _page(self, caller: Caller, key: Key) -> _Page:
        found = await read_value(self._store, caller, key)
        if found is None:
            return _Page()
        return _Page(tuple(found.value["ids"]), int(found.value.get("full") or 0), found.etag)


def _segment(n: int) -> Key:
    return Key(LISTED, str(n))
