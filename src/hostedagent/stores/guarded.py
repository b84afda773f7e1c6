"""The Foundry response provider, guarded: bounded in time, tried again where that is safe, silent about its insides.

The SDK's provider tries a POST again only on some statuses, waits up to five minutes, and puts the service's own error
text into what the SDK's host sends to callers. Here every call ends within a bound, and an error says only what a
caller may know. A write whose answer was lost is tried again and is not doubled: an update is the same twice, and a
create that meets itself is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from azure.ai.agentserver.responses import (
    FoundryApiError,
    FoundryBadRequestError,
    FoundryResourceNotFoundError,
    ResponseProviderProtocol,
)
from azure.ai.agentserver.responses.store import ResponseAlreadyExistsError

from hostedagent.observability.logging import log_failure
from hostedagent.stores.retry import Patience

if TYPE_CHECKING:
    from azure.ai.agentserver.responses import PlatformContext

logger = logging.getLogger(__name__)

T = TypeVar("T")

UNAVAILABLE: Final = "The response store is not available. Try again later."
REFUSED: Final = "The response store refused the request."


class GuardedResponses:
    """A `ResponseProviderProtocol` around another one."""

    def __init__(self, inner: ResponseProviderProtocol, *, patience: Patience | None = None) -> None:
        self._inner = inner
        self._patience = patience or Patience()

    async def create_response(
        self,
        response: Any,
        input_items: Iterable[Any] | None,
        history_item_ids: Iterable[str] | None,
        *,
        context: PlatformContext | None = None,
    ) -> None:
        """Create; raises `ResponseAlreadyExistsError` only when it was there before the first try."""
        items = list(input_items) if input_items is not None else None
        ids = list(history_item_ids) if history_item_ids is not None else None
        tried = False

        async def create() -> None:
            nonlocal tried
            again, tried = tried, True
            try:
                await self._inner.create_response(response, items, ids, context=context)
            except ResponseAlreadyExistsError:
                if not again:
                    raise

        await self._call(create)

    async def update_response(self, response: Any, *, context: PlatformContext | None = None) -> None:
        """Update."""
        await self._call(lambda: self._inner.update_response(response, context=context))

    async def get_response(self, response_id: str, *, context: PlatformContext | None = None) -> Any:
        """The response."""
        return await self._call(lambda: self._inner.get_response(response_id, context=context))

    async def delete_response(self, response_id: str, *, context: PlatformContext | None = None) -> None:
        """Delete; a response that an earlier try deleted is no error."""
        tried = False

        async def delete() -> None:
            nonlocal tried
            again, tried = tried, True
            try:
                await self._inner.delete_response(response_id, context=context)
            except FoundryResourceNotFoundError:
                if not again:
                    raise

        await self._call(delete)

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
        page = (response_id, limit, ascending, after, before)
        return await self._call(lambda: self._inner.get_input_items(*page, context=context))

    async def get_items(self, item_ids: Iterable[str], *, context: PlatformContext | None = None) -> Any:
        """Items by id."""
        ids = list(item_ids)
        return await self._call(lambda: self._inner.get_items(ids, context=context))

    async def get_history_item_ids(
        self,
        previous_response_id: str | None,
        conversation_id: str | None,
        limit: int,
        *,
        context: PlatformContext | None = None,
    ) -> list[str]:
        """The ids of the conversation's items."""
        named = (previous_response_id, conversation_id, limit)
        return await self._call(lambda: self._inner.get_history_item_ids(*named, context=context))

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        patience = self._patience
        pause = patience.pause
        for left in reversed(range(patience.tries)):
            try:
                async with asyncio.timeout(patience.timeout):
                    return await call()
            except (FoundryResourceNotFoundError, FoundryBadRequestError, ResponseAlreadyExistsError) as error:
                _translate(error)
            except Exception as error:  # noqa: BLE001 - whatever broke, callers learn that the store is away
                if not left:
                    log_failure(logger, "A call of the response store failed", error)
                    raise FoundryApiError(UNAVAILABLE) from None
            await asyncio.sleep(pause)
            pause *= 2
        raise AssertionError("unreachable")


def _translate(error: Exception) -> NoReturn:
    """Raise the same kind of error without the service's words."""
    match error:
        case FoundryResourceNotFoundError():
            raise FoundryResourceNotFoundError("Not found.") from None
        case ResponseAlreadyExistsError():
            raise error
        case _:
            raise FoundryBadRequestError(REFUSED) from None
