"""The responses of each conversation in the order of their turns: the newest in one record, the others in segments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from hostedagent.identity import Caller
from hostedagent.protocol.json import decode, encode
from hostedagent.protocol.statuses import QUEUED
from hostedagent.protocol.types import Json
from hostedagent.protocol.values import fields_of
from hostedagent.stores.base import ABSENT, Etag, Key, Store, Write

MEMBERS: Final = "members"

_SEGMENT: Final = 256
"""Members of a conversation per record, so that a turn rewrites a bounded part of a long one."""


class _Newest(Struct, frozen=True):
    """The newest members of a conversation; the older ones are in full segments."""

    full: int
    ids: tuple[str, ...]
    etag: Etag


class Members(Struct, frozen=True):
    """The members of conversations."""

    store: Store

    async def joining(self, caller: Caller, response: Mapping[str, Json]) -> list[Write]:
        """The writes that make a response a member of its conversation."""
        conversation_id, response_id = conversation_of(response), str(response["id"])
        if conversation_id is None or response.get("status") == QUEUED:  # It becomes a member when its turn starts.
            return []
        newest = await self._newest(caller, conversation_id)
        if response_id in newest.ids:
            return []
        full, ids, writes = newest.full, newest.ids, list[Write]()
        if len(ids) >= _SEGMENT:
            writes.append(Write(_segment_key(conversation_id, full), encode(ids)))
            full, ids = full + 1, ()
        value = encode({"full": full, "ids": [*ids, response_id]})
        return [*writes, Write(Key(MEMBERS, conversation_id), value, newest.etag)]

    async def all(self, caller: Caller, conversation_id: str) -> list[str]:
        """The ids of the responses of a conversation, oldest first."""
        newest = await self._newest(caller, conversation_id)
        segments = await self.store.read(caller, [_segment_key(conversation_id, n) for n in range(newest.full)])
        older = [response_id for found in segments if found is not None for response_id in decode(found.value)]
        return [*older, *newest.ids]

    async def erase(self, caller: Caller, conversation_id: str) -> None:
        """Delete the list of responses of a conversation."""
        newest = await self._newest(caller, conversation_id)
        segments = [_segment_key(conversation_id, n) for n in range(newest.full)]
        await self.store.delete(caller, [Key(MEMBERS, conversation_id), *segments])

    async def _newest(self, caller: Caller, conversation_id: str) -> _Newest:
        (found,) = await self.store.read(caller, [Key(MEMBERS, conversation_id)])
        if found is None:
            return _Newest(0, (), ABSENT)
        value = decode(found.value)
        return _Newest(value["full"], tuple(value["ids"]), found.etag)


def conversation_of(response: Mapping[str, Json]) -> str | None:
    """The id of the conversation of a response; `None` if it has none."""
    return fields_of(response.get("conversation")).get("id")


def _segment_key(conversation_id: str, n: int) -> Key:
    return Key(MEMBERS, f"{conversation_id}\n{n}")  # A conversation id has no line breaks.
