"""Responses on Foundry for every kind of identity: the service keeps its own users apart, and the host keeps the rest.

The storage service knows a user only by the call id of the request. Under protocol 1.0.0, with chats, or with an
identity of another platform there is none, and all tenants would share the partition of the process. Their responses
are kept as documents in the state store instead, where the scope is part of every key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from azure.ai.agentserver.core import get_request_context

from hostedagent.identity import LOCAL_USER, PlatformScopeResolver, Scope
from hostedagent.platform import CALL_ID_HEADER, USER_ID_HEADER
from hostedagent.stores.base import StateStore

if TYPE_CHECKING:
    from azure.ai.agentserver.responses import PlatformContext, ResponseProviderProtocol

DOCUMENT: Final = "document"

_DOCUMENTS: Final = Scope("documents")
"""The keys of documents come from the tenant's scope already."""

_AT_ONCE: Final = 8


class StateDocuments:
    """`Documents` in a state store: one value each, at most `MAX_VALUE_BYTES`."""

    def __init__(self, state: StateStore) -> None:
        self._state = state
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def read(self, keys: Sequence[str]) -> list[bytes | None]:
        """The documents, in order."""
        return list(await asyncio.gather(*(self._read(key) for key in keys)))

    async def write(self, documents: Mapping[str, bytes]) -> None:
        """Write documents in order."""
        for key, document in documents.items():
            await self._state.put(_DOCUMENTS, DOCUMENT, key, {"text": document.decode()})

    async def remove(self, keys: Sequence[str]) -> None:
        """Remove documents."""
        for key in keys:
            await self._state.delete(_DOCUMENTS, DOCUMENT, key)

    async def _read(self, key: str) -> bytes | None:
        async with self._slots:
            found = await self._state.get(_DOCUMENTS, DOCUMENT, key)
        return str(found.value["text"]).encode() if found is not None else None


def is_partitioned(scope: Scope, *, user: str | None, call_id: str | None) -> bool:
    """Whether the storage service by itself reaches the data of this scope and no other.

    Args:
        scope: Whose data.
        user: The user that the platform named.
        call_id: What the service will know of the request.
    """
    if scope == Scope(LOCAL_USER):
        return not call_id  # The process's own partition, which no other scope gets.
    if not call_id or not user:
        return False
    _, platform_scope = PlatformScopeResolver()({USER_ID_HEADER: user, CALL_ID_HEADER: call_id})
    return scope == platform_scope


class PartitionedResponses:
    """A `ResponseProviderProtocol` for one scope, that asks for each call who can keep it apart.

    Args:
        scope: Whose responses.
        service: The storage service.
        own: What keeps the scope's responses where the service cannot.
    """

    def __init__(self, scope: Scope, service: ResponseProviderProtocol, own: ResponseProviderProtocol) -> None:
        self._scope = scope
        self._service = service
        self._own = own

    async def create_response(
        self,
        response: Any,
        input_items: Iterable[Any] | None,
        history_item_ids: Iterable[str] | None,
        *,
        context: PlatformContext | None = None,
    ) -> None:
        """Create."""
        await self._for(context).create_response(response, input_items, history_item_ids, context=context)

    async def update_response(self, response: Any, *, context: PlatformContext | None = None) -> None:
        """Update."""
        await self._for(context).update_response(response, context=context)

    async def get_response(self, response_id: str, *, context: PlatformContext | None = None) -> Any:
        """The response."""
        return await self._for(context).get_response(response_id, context=context)

    async def delete_response(self, response_id: str, *, context: PlatformContext | None = None) -> None:
        """Delete."""
        await self._for(context).delete_response(response_id, context=context)

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
        """A page of input items."""
        provider = self._for(context)
        return await provider.get_input_items(response_id, limit, ascending, after, before, context=context)

    async def get_items(self, item_ids: Iterable[str], *, context: PlatformContext | None = None) -> Any:
        """Items by id."""
        return await self._for(context).get_items(item_ids, context=context)

    async def get_history_item_ids(
        self,
        previous_response_id: str | None,
        conversation_id: str | None,
        limit: int,
        *,
        context: PlatformContext | None = None,
    ) -> list[str]:
        """The ids of the conversation's items."""
        provider = self._for(context)
        return await provider.get_history_item_ids(previous_response_id, conversation_id, limit, context=context)

    def _for(self, context: PlatformContext | None) -> ResponseProviderProtocol:
        if context is not None:
            user, call_id = context.user_id_key, context.call_id
        else:
            request = get_request_context()
            user, call_id = request.user_id, request.call_id
        return self._service if is_partitioned(self._scope, user=user, call_id=call_id) else self._own
