"""Stores whose calls are timed. Nothing else is different."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hostedagent.identity import Scope
from hostedagent.observability.metrics import StoreCall
from hostedagent.stores.base import Etag, StateStore, Value, Versioned
from hostedagent.stores.factory import Stores

if TYPE_CHECKING:
    from azure.ai.agentserver.responses import PlatformContext, ResponseProviderProtocol


def measured(stores: Stores) -> Stores:
    """The same stores, timed: `hostedagent.store.duration`."""

    def responses(scope: Scope) -> ResponseProviderProtocol:
        return MeasuredResponses(stores.responses(scope))

    return replace(stores, responses=responses, state=MeasuredState(stores.state))


class MeasuredState:
    """A `StateStore` around another one."""

    def __init__(self, inner: StateStore) -> None:
        self._inner = inner

    async def get(self, scope: Scope, kind: str, key: str) -> Versioned | None:
        """The value, or `None`."""
        with StoreCall("state", "get"):
            return await self._inner.get(scope, kind, key)

    async def put(self, scope: Scope, kind: str, key: str, value: Value, *, expect: Etag | None = None) -> Etag:
        """Write."""
        with StoreCall("state", "put"):
            return await self._inner.put(scope, kind, key, value, expect=expect)

    async def delete(self, scope: Scope, kind: str, key: str, *, expect: Etag | None = None) -> None:
        """Remove the value."""
        with StoreCall("state", "delete"):
            await self._inner.delete(scope, kind, key, expect=expect)

    async def keys(self, scope: Scope, kind: str) -> AsyncIterator[str]:
        """The keys of a kind; timed until the last one was taken."""
        with StoreCall("state", "keys"):
            async for key in self._inner.keys(scope, kind):
                yield key


class MeasuredResponses:
    """A `ResponseProviderProtocol` around another one."""

    def __init__(self, inner: ResponseProviderProtocol) -> None:
        self._inner = inner

    async def create_response(
        self,
        response: Any,
        input_items: Iterable[Any] | None,
        history_item_ids: Iterable[str] | None,
        *,
        context: PlatformContext | None = None,
    ) -> None:
        """Create."""
        with StoreCall("responses", "create"):
            await self._inner.create_response(response, input_items, history_item_ids, context=context)

    async def get_response(self, response_id: str, *, context: PlatformContext | None = None) -> Any:
        """The stored response."""
        with StoreCall("responses", "get"):
            return await self._inner.get_response(response_id, context=context)

    async def update_response(self, response: Any, *, context: PlatformContext | None = None) -> None:
        """Store anew."""
        with StoreCall("responses", "update"):
            await self._inner.update_response(response, context=context)

    async def delete_response(self, response_id: str, *, context: PlatformContext | None = None) -> None:
        """Delete."""
        with StoreCall("responses", "delete"):
            await self._inner.delete_response(response_id, context=context)

    async def get_input_items(
        self,
        response_id: str,
        limit: int = 20,
        ascending: bool = False,
        after: str | None = None,
        before: str | None = None,
        *,
        context: PlatformContext | None = None,
    ) -> Any:
        """The input items of a response."""
        with StoreCall("responses", "get_input_items"):
            return await self._inner.get_input_items(response_id, limit, ascending, after, before, context=context)

    async def get_items(self, item_ids: Iterable[str], *, context: PlatformContext | None = None) -> Any:
        """Items by id."""
        with StoreCall("responses", "get_items"):
            return await self._inner.get_items(item_ids, context=context)

    async def get_history_item_ids(
        self,
        previous_response_id: str | None,
        conversation_id: str | None,
        limit: int,
        *,
        context: PlatformContext | None = None,
    ) -> list[str]:
        """The ids of a conversation's items."""
        with StoreCall("responses", "get_history_item_ids"):
            return await self._inner.get_history_item_ids(previous_response_id, conversation_id, limit, context=context)
