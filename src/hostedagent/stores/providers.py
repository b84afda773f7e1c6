"""A `ResponseRepository` over the SDK's provider protocol, with errors of our own."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from azure.ai.agentserver.core import get_request_context
from azure.ai.agentserver.responses import (
    FoundryBadRequestError,
    FoundryResourceNotFoundError,
    FoundryStorageError,
    PlatformContext,
)
from azure.ai.agentserver.responses.store import ResponseAlreadyExistsError

from hostedagent.identity import Caller, Scope
from hostedagent.protocol.types import Item, Json
from hostedagent.stores.base import StoreConflict, StoreNotFound, StoreRejected, StoreUnavailable

if TYPE_CHECKING:
    from azure.ai.agentserver.responses import ResponseProviderProtocol


class ProviderResponses:
    """Responses behind providers of the SDK.

    Args:
        provider_of: The provider that keeps a scope's responses.
    """

    def __init__(self, provider_of: Callable[[Scope], ResponseProviderProtocol]) -> None:
        self._provider_of = provider_of

    async def create(
        self,
        caller: Caller,
        response: Mapping[str, Json],
        input_items: Iterable[Item],
        history_ids: Sequence[str] | None = None,
    ) -> None:
        """Store a new response and its input items."""
        with _translated():
            await self._provider_of(caller.scope).create_response(
                cast("Any", response), cast("Any", list(input_items)), history_ids, context=_context(caller)
            )

    async def update(self, caller: Caller, response: Mapping[str, Json]) -> None:
        """Replace a stored response and its output."""
        with _translated():
            await self._provider_of(caller.scope).update_response(cast("Any", response), context=_context(caller))

    async def get(self, caller: Caller, response_id: str) -> dict[str, Json]:
        """The response with its output."""
        with _translated():
            found = await self._provider_of(caller.scope).get_response(response_id, context=_context(caller))
        return cast("dict[str, Json]", found)

    async def delete(self, caller: Caller, response_id: str) -> None:
        """Erase the response and its items."""
        with _translated():
            await self._provider_of(caller.scope).delete_response(response_id, context=_context(caller))

    async def input_items(
        self,
        caller: Caller,
        response_id: str,
        *,
        limit: int = 20,
        ascending: bool = False,
        after: str | None = None,
        before: str | None = None,
    ) -> list[Item]:
        """A page of the input items, the history before the response included."""
        provider = self._provider_of(caller.scope)
        page = (response_id, limit, ascending, after, before)
        with _translated():
            return cast("list[Item]", await provider.get_input_items(*page, context=_context(caller)))

    async def items(self, caller: Caller, ids: Sequence[str]) -> list[Item | None]:
        """Items by id, `None` for each that does not exist."""
        with _translated():
            found = await self._provider_of(caller.scope).get_items(ids, context=_context(caller))
        return cast("list[Item | None]", found)

    async def history_ids(
        self, caller: Caller, previous_response_id: str | None, conversation_id: str | None, limit: int
    ) -> list[str]:
        """The ids of the conversation's items, oldest first; with a positive limit only the newest ones."""
        provider, named = self._provider_of(caller.scope), (previous_response_id, conversation_id, limit)
        with _translated():
            return await provider.get_history_item_ids(*named, context=_context(caller))


def _context(caller: Caller) -> PlatformContext:
    if caller.platform_user is None and caller.call_id is None:
        request = get_request_context()  # An application may have set it itself, outside a host.
        return PlatformContext(user_id_key=request.user_id, call_id=request.call_id)
    return PlatformContext(user_id_key=caller.platform_user, call_id=caller.call_id)


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except (FoundryResourceNotFoundError, KeyError) as error:
        raise StoreNotFound(str(error)) from error
    except ResponseAlreadyExistsError as error:
        raise StoreConflict(str(error)) from error
    except FoundryBadRequestError as error:
        raise StoreRejected(str(error)) from error
    except FoundryStorageError as error:
        raise StoreUnavailable(str(error)) from error
