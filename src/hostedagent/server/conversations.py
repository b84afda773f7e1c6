"""The Conversations API: the conversations of turns and their items.

Beyond OpenAI's routes, `GET /conversations` lists the caller's conversations, and `fork_from` in the body of
`POST /conversations` copies the items of another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from msgspec import Struct
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.routing import Route

from hostedagent.conversation.managed import ManagedConversations, check_history
from hostedagent.engine.engine import Engine
from hostedagent.errors import InvalidRequest
from hostedagent.identity import Caller
from hostedagent.off_loop import off_loop
from hostedagent.options import HostOptions
from hostedagent.protocol.envelope import listed_item
from hostedagent.protocol.request.turn_request import parse_items, parse_metadata
from hostedagent.protocol.types import Item, Json
from hostedagent.protocol.values import fields_of
from hostedagent.server.admission import Trust, read_as, read_object, refuse_media
from hostedagent.server.exchange import Endpoint, Exchange
from hostedagent.server.paging import listing, page_asked, page_of
from hostedagent.stores.base import Page, StoreNotFound
from hostedagent.stores.conversations import Description
from hostedagent.stores.responses import StoredResponses


class _ConversationId(PathConvertor):
    """An id in a path. Callers choose ids, so they may contain slashes."""

    regex = r"[^/](?:(?!/items(?:/|$)).)*(?<!/)"


register_url_convertor("conversation", _ConversationId())


def conversation_routes(engine: Engine, trust: Trust, prefix: str) -> Sequence[Route]:
    """The routes below a path; none where Foundry keeps the responses, since it serves their conversations itself."""
    responses = engine.store.repository
    if not isinstance(responses, StoredResponses):
        return ()

    async def forget(caller: Caller, response_id: str) -> None:
        await engine.forget(caller, response_id)
        with suppress(StoreNotFound):
            await engine.store.delete(caller, response_id)

    managed = ManagedConversations(engine.services.sessions, responses, forget)
    return ConversationRoutes(managed, engine.options, trust).routes(prefix)


class ConversationRoutes(Struct, frozen=True):
    """Serves the Conversations API."""

    conversations: ManagedConversations
    options: HostOptions
    trust: Trust

    def routes(self, prefix: str) -> Sequence[Route]:
        """The routes below a path."""
        root, one = f"{prefix}/conversations", f"{prefix}/conversations/{{conversation_id:conversation}}"
        rows = (
            ("POST", root, self._create),
            ("GET", root, self._list),
            ("GET", one, self._retrieve),
            ("POST", one, self._update),
            ("DELETE", one, self._delete),
            ("POST", f"{one}/items", self._add),
            ("GET", f"{one}/items", self._items),
            ("GET", f"{one}/items/{{item_id}}", self._item),
            ("DELETE", f"{one}/items/{{item_id}}", self._remove),
        )
        return [Route(path, Endpoint(self.trust, handler), methods=[method]) for method, path, handler in rows]

    async def _create(self, exchange: Exchange) -> None:
        fields, items = await self._fields_and_items(exchange)
        if (fork := fields.get("fork_from")) is not None:
            items = (*await self._forked(exchange, fork), *items)
        if items:
            check_history(self.options.history)
        metadata = parse_metadata(fields.get("metadata"))
        await exchange.json(_shown(await self.conversations.create(exchange.caller, metadata, items)))

    async def _forked(self, exchange: Exchange, fork: Json) -> tuple[Item, ...]:
        given = fields_of(fork)
        conversation_id, item_id = given.get("conversation_id"), given.get("item_id")
        if not isinstance(conversation_id, str) or not isinstance(item_id, str | None):
            raise InvalidRequest(
                "fork_from is an object with a conversation_id, and with the item_id of the last item to begin with.",
                param="fork_from",
            )
        return await self.conversations.before(exchange.caller, conversation_id, item_id)

    async def _list(self, exchange: Exchange) -> None:
        page, caller = page_asked(exchange.request.query_params), exchange.caller
        ids = await self.conversations.listed(caller)
        found = await page_of(ids, page, lambda some: self.conversations.sessions.conversations.describe(caller, some))
        await exchange.json(listing(page, [_shown(row) for row in found]))

    async def _retrieve(self, exchange: Exchange) -> None:
        await exchange.json(_shown(await self.conversations.describe(exchange.caller, _conversation_id(exchange))))

    async def _update(self, exchange: Exchange) -> None:
        refuse_media(exchange.headers)
        fields = await read_object(exchange.receive, self.options)
        if "metadata" not in fields:
            raise InvalidRequest("metadata is missing: it is what can be changed.", param="metadata")
        metadata = parse_metadata(fields["metadata"])
        changed = await self.conversations.update(exchange.caller, _conversation_id(exchange), metadata)
        await exchange.json(_shown(changed))

    async def _delete(self, exchange: Exchange) -> None:
        conversation_id = _conversation_id(exchange)
        await self.conversations.delete(exchange.caller, conversation_id)
        await exchange.json({"id": conversation_id, "object": "conversation.deleted", "deleted": True})

    async def _add(self, exchange: Exchange) -> None:
        check_history(self.options.history)
        _, items = await self._fields_and_items(exchange)
        if not items:
            raise InvalidRequest("items must be a non-empty array of items.", param="items")
        stored = await self.conversations.add(exchange.caller, _conversation_id(exchange), items)
        shown = await off_loop(len(stored), lambda: [listed_item(item) for item in stored])
        await exchange.json(listing(Page(limit=len(stored)), shown))

    async def _items(self, exchange: Exchange) -> None:
        page, caller = page_asked(exchange.request.query_params), exchange.caller
        ids = await self.conversations.item_ids(caller, _conversation_id(exchange))
        found = await page_of(ids, page, lambda some: self.conversations.responses.items(caller, some))
        await exchange.json(listing(page, [listed_item(item) for item in found]))

    async def _item(self, exchange: Exchange) -> None:
        item_id = exchange.request.path_params["item_id"]
        found = await self.conversations.item(exchange.caller, _conversation_id(exchange), item_id)
        await exchange.json(listed_item(found))

    async def _remove(self, exchange: Exchange) -> None:
        check_history(self.options.history)
        item_id = exchange.request.path_params["item_id"]
        left = await self.conversations.remove(exchange.caller, _conversation_id(exchange), item_id)
        await exchange.json(_shown(left))

    async def _fields_and_items(self, exchange: Exchange) -> tuple[Mapping[str, Json], tuple[Item, ...]]:
        refuse_media(exchange.headers)
        return await read_as(self._parsed, exchange.receive, self.options)

    def _parsed(self, fields: Mapping[str, Json]) -> tuple[Mapping[str, Json], tuple[Item, ...]]:
        items = parse_items(fields.get("items") or [])
        if any(item.get("type") == "item_reference" for item in items):
            raise InvalidRequest("items are added whole; an item_reference is not.", param="items")
        return fields, items


def _shown(described: Description) -> dict[str, Json]:
    return {
        "id": described.conversation_id,
        "object": "conversation",
        "created_at": described.created_at,
        "metadata": dict(described.metadata),
    }


def _conversation_id(exchange: Exchange) -> str:
    return exchange.request.path_params["conversation_id"]
