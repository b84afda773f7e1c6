"""Responses as documents: the response provider for memory and for files, whole, partitioned and erasable.

One document for each response, one for each item, one for each conversation; keys come from the scope. A response
names the one before it instead of copying the history, so a conversation grows by what was said, and a turn that
failed is stepped over. What is deleted is gone, also for references to its items.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from azure.ai.agentserver.responses.store import ResponseAlreadyExistsError

from hostedagent.identity import Scope
from hostedagent.protocol.json import decode, encode
from hostedagent.protocol.types import Json

if TYPE_CHECKING:
    from azure.ai.agentserver.responses import PlatformContext

COUNTED: Final = ("completed", "incomplete")
"""The ends of a turn that later prompts see. One that runs is held by a lease, and one that died never ends."""

_LINKS: Final = 4_000
"""How many links are remembered. What is forgotten is read again."""


class Documents(Protocol):
    """Keeps bytes by key; keys are 64 hexadecimal characters.

    Concurrency: calls may come from many tasks; a write is seen whole or not at all.
    """

    async def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """The documents, in order, `None` for each that is not there."""
        ...

    async def write(self, documents: Mapping[str, bytes]) -> None:
        """Write documents in order, each one atomically."""
        ...

    async def remove(self, keys: Sequence[str]) -> None:
        """Remove documents; absent ones are no error."""
        ...


class MemoryDocuments:
    """Documents that end with the process, bounded in bytes; what was not touched for longest goes first."""

    def __init__(self, *, max_bytes: int = 512 * 1024 * 1024) -> None:
        self._max_bytes = max_bytes
        self._documents: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    async def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """The documents, in order."""
        found: list[bytes | None] = []
        for key in keys:
            document = self._documents.get(key)
            if document is not None:
                self._documents.move_to_end(key)
            found.append(document)
        return found

    async def write(self, documents: Mapping[str, bytes]) -> None:
        """Write documents."""
        for key, document in documents.items():
            self._drop(key)
            self._documents[key] = document
            self._bytes += len(document)
        while self._bytes > self._max_bytes and self._documents:
            self._drop(next(iter(self._documents)))

    async def remove(self, keys: Sequence[str]) -> None:
        """Remove documents."""
        for key in keys:
            self._drop(key)

    def _drop(self, key: str) -> None:
        if (document := self._documents.pop(key, None)) is not None:
            self._bytes -= len(document)


@dataclass(frozen=True, slots=True)
class _Link:
    """What a chain needs of a response: the key of the one before it, and the ids of its items if they count."""

    previous: str | None
    item_ids: tuple[str, ...]


class _Shared:
    """What the providers of all scopes share."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        self.links: OrderedDict[str, _Link] = OrderedDict()
        self.conversations = asyncio.Lock()

    def remember(self, key: str, link: _Link) -> None:
        self.links[key] = link
        self.links.move_to_end(key)
        while len(self.links) > _LINKS:
            self.links.popitem(last=False)


class DocumentResponses:
    """Makes the provider of a scope: `ResponseStore(DocumentResponses(MemoryDocuments()), ...)`."""

    def __init__(self, documents: Documents) -> None:
        self._shared = _Shared(documents)

    def __call__(self, scope: Scope) -> ScopedResponses:
        """The provider that holds the scope's responses."""
        return ScopedResponses(scope, self._shared)


class ScopedResponses:
    """A `ResponseProviderProtocol` that reaches one scope's documents and no others."""

    def __init__(self, scope: Scope, shared: _Shared) -> None:
        self._scope = scope
        self._shared = shared
        self._documents = shared.documents

    async def create_response(
        self,
        response: Any,
        input_items: Iterable[Any] | None,
        history_item_ids: Iterable[str] | None,
        *,
        context: PlatformContext | None = None,
    ) -> None:
        """Store a new response; raises `ResponseAlreadyExistsError`."""
        response_id = str(response["id"])
        if await self._record(response_id) is not None:
            raise ResponseAlreadyExistsError(f"Response '{response_id}' already exists.")
        items = [dict(item) for item in input_items or ()]
        await self._write(dict(response), items, [str(item["id"]) for item in items])
        if (conversation := _conversation_of(response)) is not None:
            await self._join(conversation, response_id)

    async def update_response(self, response: Any, *, context: PlatformContext | None = None) -> None:
        """Store the response anew; raises `KeyError`."""
        record = await self._record(str(response["id"]))
        if record is None or record["response"] is None:
            raise KeyError(response["id"])
        await self._write(dict(response), [], cast("list[str]", record["input_ids"]))

    async def get_response(self, response_id: str, *, context: PlatformContext | None = None) -> Any:
        """The response; raises `KeyError`."""
        record = await self._record(response_id)
        if record is None or record["response"] is None:
            raise KeyError(response_id)
        items = await self.get_items(cast("list[str]", record["output_ids"]))
        return {**record["response"], "output": [item for item in items if item is not None]}

    async def delete_response(self, response_id: str, *, context: PlatformContext | None = None) -> None:
        """Erase the response and its items; raises `KeyError`. What continues it keeps the chain, without them."""
        record = await self._record(response_id)
        if record is None or record["response"] is None:
            raise KeyError(response_id)
        await self._documents.remove([self._item_key(item_id) for item_id in _own_ids(record)])
        tombstone: dict[str, Json] = {**record, "response": None, "input_ids": [], "output_ids": []}
        await self._documents.write({self._key(response_id): encode(tombstone)})
        self._shared.remember(self._key(response_id), self._link_of(tombstone))

    async def get_input_items(
        self,
        response_id: str,
        limit: int = 20,
        ascending: bool = False,
        after: str | None = None,
        before: str | None = None,
        *,
        context: PlatformContext | None = None,
    ) -> list[Any]:
        """A page of the input items, history first; raises `KeyError`."""
        record = await self._record(response_id)
        if record is None or record["response"] is None:
            raise KeyError(response_id)
        history = await self._chain(record["previous"])
        found = await self.get_items([*history, *cast("list[str]", record["input_ids"])])
        items = [item for item in found if item is not None]
        return _page(items if ascending else items[::-1], limit, after, before)

    async def get_items(self, item_ids: Iterable[str], *, context: PlatformContext | None = None) -> list[Any]:
        """Items by id, `None` for each that is not there."""
        found = await self._documents.read([self._item_key(item_id) for item_id in item_ids])
        return [decode(document) if document is not None else None for document in found]

    async def get_history_item_ids(
        self,
        previous_response_id: str | None,
        conversation_id: str | None,
        limit: int,
        *,
        context: PlatformContext | None = None,
    ) -> list[str]:
        """The ids of the conversation's items, oldest first; with a positive limit the newest ones."""
        ids: list[str] = []
        if previous_response_id is not None:
            ids = await self._chain(previous_response_id)
        elif conversation_id is not None:
            for response_id in await self._members(conversation_id):
                ids.extend((await self._link(self._key(response_id))).item_ids)
        return ids[-limit:] if limit > 0 else ids

    async def _chain(self, response_id: str | None) -> list[str]:
        links: list[_Link] = []
        key = self._key(response_id) if response_id is not None else None
        while key is not None:
            link = await self._link(key)
            links.append(link)
            key = link.previous
        return [item_id for link in reversed(links) for item_id in link.item_ids]

    async def _link(self, key: str) -> _Link:
        if (link := self._shared.links.get(key)) is None:
            record = await self._record_at(key)
            link = self._link_of(record) if record is not None else _Link(None, ())
        if link.item_ids:  # It has ended, and does not change any more.
            self._shared.remember(key, link)
        return link

    def _link_of(self, record: Mapping[str, Json]) -> _Link:
        response, previous = record["response"], record["previous"]
        counts = response is not None and response.get("status") in COUNTED
        return _Link(self._key(previous) if previous is not None else None, tuple(_own_ids(record)) if counts else ())

    async def _record(self, response_id: str) -> dict[str, Json] | None:
        return await self._record_at(self._key(response_id))

    async def _record_at(self, key: str) -> dict[str, Json] | None:
        (document,) = await self._documents.read([key])
        return decode(document) if document is not None else None

    async def _write(self, response: dict[str, Json], input_items: list[dict[str, Json]], input_ids: list[str]) -> None:
        output = cast("list[dict[str, Json]]", response.get("output") or [])
        record: dict[str, Json] = {
            "response": {**{name: _in_seconds(value) for name, value in response.items()}, "output": []},
            "previous": response.get("previous_response_id"),
            "input_ids": input_ids,
            "output_ids": [str(item["id"]) for item in output],
        }
        # Items first: a response never names an item that is not there.
        documents = {self._item_key(str(item["id"])): encode(item) for item in (*input_items, *output)}
        key = self._key(str(response["id"]))
        documents[key] = encode(record)
        await self._documents.write(documents)
        self._shared.remember(key, self._link_of(record))

    async def _members(self, conversation_id: str) -> list[str]:
        (document,) = await self._documents.read([self._conversation_key(conversation_id)])
        return decode(document) if document is not None else []

    async def _join(self, conversation_id: str, response_id: str) -> None:
        async with self._shared.conversations:
            members = await self._members(conversation_id)
            await self._documents.write({self._conversation_key(conversation_id): encode([*members, response_id])})

    def _key(self, response_id: str) -> str:
        return self._scope.key("response", response_id)

    def _item_key(self, item_id: str) -> str:
        return self._scope.key("item", item_id)

    def _conversation_key(self, conversation_id: str) -> str:
        return self._scope.key("conversation", conversation_id)


def _in_seconds(value: Json) -> Json:
    """The SDK's event stream has its times as `datetime` until it emits them."""
    return int(value.timestamp()) if isinstance(value, datetime) else value


def _own_ids(record: Mapping[str, Json]) -> list[str]:
    return [*record["input_ids"], *record["output_ids"]]


def _page(items: list[Any], limit: int, after: str | None, before: str | None) -> list[Any]:
    ids = [item.get("id") for item in items]
    start = ids.index(after) + 1 if after in ids else 0
    end = ids.index(before) if before in ids else len(items)
    return items[start:end][:limit]


def _conversation_of(response: Mapping[str, Json]) -> str | None:
    conversation = response.get("conversation")
    return cast("dict[str, str]", conversation).get("id") if isinstance(conversation, dict) else None
