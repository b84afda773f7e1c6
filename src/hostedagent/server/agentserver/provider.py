"""Implements the SDK's provider protocol on the host's response store, translating identity and errors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from azure.ai.agentserver.responses import FoundryApiError, FoundryBadRequestError, FoundryResourceNotFoundError
from azure.ai.agentserver.responses.store import ResponseAlreadyExistsError

from hostedagent.engine.context import TurnContext
from hostedagent.engine.responses import ResponseStore
from hostedagent.identity import Caller, RequestContext, current_context, enter_context, has_request
from hostedagent.off_loop import off_loop
from hostedagent.protocol.envelope import listed_item
from hostedagent.protocol.transcript.storing import stored_input
from hostedagent.stores.base import Page, StoreConflict, StoreError, StoreNotFound, StoreRejected

if TYPE_CHECKING:
    from azure.ai.agentserver.responses import PlatformContext

_NOT_FOUND: Final = "Not found."
_UNAVAILABLE: Final = "The response store is not available. Try again later."
_REJECTED: Final = "The response store refused the request."

Recall = Callable[[str, "PlatformContext | None"], Awaitable["Caller | None"]]
"""Finds whose a response is that the SDK resumes without a request."""


class Provider:
    """A `ResponseProviderProtocol` for the SDK.

    Args:
        recall: Finds the owner of a response that the SDK resumes without a request.
    """

    def __init__(self, store: ResponseStore, recall: Recall) -> None:
        self._store = store
        self._recall = recall

    async def create_response(
        self,
        response: Any,
        input_items: Iterable[Any] | None,
        history_item_ids: Iterable[str] | None,
        *,
        context: PlatformContext | None = None,
    ) -> None:
        """Store a new response and its input."""
        ids = list(history_item_ids) if history_item_ids is not None else None
        items, turn = input_items or (), current_context()
        if isinstance(turn, TurnContext) and (kept := turn.kept_input) is not None:
            items = await off_loop(len(kept), stored_input, kept, str(response["id"]))
        async with _translated():
            try:
                await self._store.create(_caller(context), response, items, ids)
            except StoreConflict:
                raise
            except StoreError as error:
                if isinstance(turn, TurnContext):
                    turn.unstored = error
                raise

    async def update_response(self, response: Any, *, context: PlatformContext | None = None) -> None:
        """Replace the stored response."""
        async with _translated():
            await self._store.update(_caller(context), response)

    async def get_response(self, response_id: str, *, context: PlatformContext | None = None) -> Any:
        """The stored response."""
        if not has_request():
            caller = await self._recall(response_id, context)
            if caller is None:
                # The SDK gives up a turn of an earlier process without naming its owner; its reader is informed.
                return {"id": response_id, "status": "failed", "output": []}
            enter_context(RequestContext(caller))
        async with _translated():
            return await self._store.get(_caller(context), response_id)

    async def delete_response(self, response_id: str, *, context: PlatformContext | None = None) -> None:
        """Delete the response."""
        async with _translated():
            await self._store.delete(_caller(context), response_id)

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
        """A page of the input items of a response."""
        async with _translated():
            page = Page(limit=limit, ascending=ascending, after=after, before=before)
            return [listed_item(item) for item in await self._store.input_items(_caller(context), response_id, page)]

    async def get_items(self, item_ids: Iterable[str], *, context: PlatformContext | None = None) -> Any:
        """Items by id, `None` for each that does not exist."""
        async with _translated():
            return await self._store.items(_caller(context), list(item_ids))

    async def get_history_item_ids(
        self,
        previous_response_id: str | None,
        conversation_id: str | None,
        limit: int,
        *,
        context: PlatformContext | None = None,
    ) -> list[str]:
        """The ids of the conversation's items, oldest first; those of an accepted turn were already read."""
        turn = current_context()
        if isinstance(turn, TurnContext):
            return list(turn.continuation.history_ids)
        async with _translated():
            return await self._store.history_ids(_caller(context), previous_response_id, conversation_id, limit)


def _caller(context: PlatformContext | None) -> Caller:
    current = current_context()
    if current is not None and current.is_request:
        return current.caller
    return caller_on(context)


def caller_on(platform: PlatformContext | None) -> Caller:
    """The platform's identity of a caller, without a scope."""
    return Caller(platform_user=platform.user_id_key, call_id=platform.call_id) if platform is not None else Caller()


@asynccontextmanager
async def _translated() -> AsyncGenerator[None]:
    try:
        yield
    except StoreNotFound:
        raise FoundryResourceNotFoundError(_NOT_FOUND) from None
    except StoreConflict as error:
        raise ResponseAlreadyExistsError(str(error)) from None
    except StoreRejected:
        raise FoundryBadRequestError(_REJECTED) from None
    except StoreError as error:
        if (request := current_context()) is not None:
            request.store_failed = True
        raise FoundryApiError(_UNAVAILABLE) from error
