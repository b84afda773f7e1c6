"""Responses in Foundry's response storage, and in the state store for callers that the service cannot separate.

The storage service identifies a user only by the call id of the request. Under protocol 1.0.0, with chats, or with an
identity of another platform there is none, and all tenants would share the partition of the process. Their responses
are therefore records in the state store, where the scope is part of every key.

Every call is bounded in time, and errors contain only what a caller may know. A write whose answer was lost is retried
without being doubled: an update is idempotent, and a create that finds its own response has succeeded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from azure.ai.agentserver.core import get_request_context
from azure.ai.agentserver.responses import (
    FoundryBadRequestError,
    FoundryResourceNotFoundError,
    FoundryStorageProvider,
    FoundryStorageSettings,
    PlatformContext,
)
from azure.ai.agentserver.responses.store import ResponseAlreadyExistsError
from msgspec.structs import replace

from hostedagent.identity import LOCAL_USER, Caller, PlatformScopeResolver, Scope
from hostedagent.observability.logging import log_failure
from hostedagent.observability.metrics import StoreCall
from hostedagent.platform import CALL_ID_HEADER, USER_ID_HEADER
from hostedagent.protocol.types import Item, Json
from hostedagent.stores.base import (
    FIRST_PAGE,
    Page,
    ResponseRepository,
    StoreConflict,
    StoreError,
    StoreNotFound,
    StoreRejected,
    StoreUnavailable,
)
from hostedagent.stores.retry import RetryPolicy, pause_before

if TYPE_CHECKING:
    from azure.ai.agentserver.responses.models import ResponseObject
    from azure.core.credentials_async import AsyncTokenCredential

logger = logging.getLogger(__name__)

UNAVAILABLE: Final = "The response store is not available. Try again later."
REJECTED: Final = "The response store refused the request."

_MOST_ITEMS: Final = 100
"""The largest page of items that the service gives."""


def connector(endpoint: str, credential: AsyncTokenCredential) -> Callable[[], FoundryStorageProvider]:
    """Creates the SDK's providers of a Foundry project."""
    return partial(FoundryStorageProvider, credential, FoundryStorageSettings.from_endpoint(endpoint))


class FoundryResponses:
    """A `ResponseRepository` over the SDK's provider.

    Args:
        connect: Creates the SDK's provider: at the first call, and at the first one after it was closed.
        records: Keeps the responses of callers that the service cannot separate.
    """

    def __init__(
        self,
        connect: Callable[[], FoundryStorageProvider],
        records: ResponseRepository,
        *,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._connect = connect
        self._opened: FoundryStorageProvider | None = None
        self._records = records
        self._retry = retry or RetryPolicy()

    async def aclose(self) -> None:
        """Close the connections and drop the tokens. They are opened again on the next use."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.aclose()

    @property
    def _service(self) -> FoundryStorageProvider:
        if self._opened is None:
            self._opened = self._connect()
        return self._opened

    async def create(
        self,
        caller: Caller,
        response: Mapping[str, Json],
        input_items: Iterable[Item],
        history_ids: Sequence[str] | None = None,
    ) -> None:
        """Store a new response; raises `StoreConflict` only when it existed before the first try."""
        if not is_partitioned(caller):
            return await self._records.create(caller, response, input_items, history_ids)
        arguments = (cast("ResponseObject", response), list(input_items), history_ids)
        await self._call("create", caller, self._service.create_response, *arguments, done=ResponseAlreadyExistsError)

    async def update(self, caller: Caller, response: Mapping[str, Json]) -> None:
        """Replace a stored response and its output."""
        if not is_partitioned(caller):
            return await self._records.update(caller, response)
        await self._call("update", caller, self._service.update_response, response)

    async def get(self, caller: Caller, response_id: str) -> dict[str, Json]:
        """The response with its output."""
        if not is_partitioned(caller):
            return await self._records.get(caller, response_id)
        return await self._call("get", caller, self._service.get_response, response_id)

    async def delete(self, caller: Caller, response_id: str) -> None:
        """Erase the response; it is not an error if an earlier attempt erased it."""
        if not is_partitioned(caller):
            return await self._records.delete(caller, response_id)
        delete = self._service.delete_response
        await self._call("delete", caller, delete, response_id, done=FoundryResourceNotFoundError)

    async def input_items(self, caller: Caller, response_id: str, page: Page = FIRST_PAGE) -> list[Item]:
        """A page of the input items."""
        if not is_partitioned(caller):
            return await self._records.input_items(caller, response_id, page)
        limit = min(page.limit, _MOST_ITEMS)
        arguments = (response_id, limit, page.ascending, page.after, page.before)
        found: list[Item] = await self._call("get_input_items", caller, self._service.get_input_items, *arguments)
        if limit == page.limit or len(found) < limit:
            return found
        rest = replace(page, limit=page.limit - limit, after=str(found[-1]["id"]))
        return [*found, *await self.input_items(caller, response_id, rest)]

    async def items(self, caller: Caller, ids: Sequence[str]) -> list[Item | None]:
        """Items by id."""
        if not is_partitioned(caller):
            return await self._records.items(caller, ids)
        return await self._call("get_items", caller, self._service.get_items, list(ids))

    async def history_ids(
        self, caller: Caller, previous_response_id: str | None, conversation_id: str | None, limit: int
    ) -> list[str]:
        """The ids of the conversation's items."""
        if not is_partitioned(caller):
            return await self._records.history_ids(caller, previous_response_id, conversation_id, limit)
        arguments = (previous_response_id, conversation_id, limit)
        return await self._call("get_history_item_ids", caller, self._service.get_history_item_ids, *arguments)

    async def _call(
        self,
        operation: str,
        caller: Caller,
        method: Callable[..., Awaitable[Any]],
        *arguments: Any,
        done: type[Exception] | None = None,
    ) -> Any:
        """Call the service; after a failed attempt, an error of the type `done` means that the attempt succeeded."""
        user, call_id = _identity(caller)
        context = PlatformContext(user_id_key=user, call_id=call_id)
        retry = self._retry
        with StoreCall("responses", operation):
            for tried in range(retry.tries):
                await pause_before(tried, retry)
                try:
                    async with asyncio.timeout(retry.timeout):
                        return await method(*arguments, context=context)
                except (FoundryResourceNotFoundError, FoundryBadRequestError, ResponseAlreadyExistsError) as error:
                    if tried and done is not None and isinstance(error, done):
                        return None
                    raise _translated(error) from None
                except Exception as error:  # noqa: BLE001 - for any failure, callers learn only that the store is unavailable
                    if tried + 1 == retry.tries:
                        log_failure(logger, "A call of the response store failed", error)
            raise StoreUnavailable(UNAVAILABLE)


def is_partitioned(caller: Caller) -> bool:
    """Whether the storage service itself separates the data of this caller's scope."""
    scope, (user, call_id) = caller.scope, _identity(caller)
    if scope == Scope(LOCAL_USER):
        return not call_id  # The process's own partition, which no other scope gets.
    if not call_id or not user:
        return False
    _, platform_scope = PlatformScopeResolver()({USER_ID_HEADER: user, CALL_ID_HEADER: call_id})
    return scope == platform_scope


def _identity(caller: Caller) -> tuple[str | None, str | None]:
    """The user and the call id that the service sees."""
    if caller.platform_user is None and caller.call_id is None:
        request = get_request_context()  # Outside a host an application may have set it itself.
        return request.user_id, request.call_id
    return caller.platform_user, caller.call_id


def _translated(error: Exception) -> StoreError:
    """The same type of error without the service's text."""
    match error:
        case FoundryResourceNotFoundError():
            return StoreNotFound("Not found.")
        case ResponseAlreadyExistsError():
            return StoreConflict(str(error))
        case _:
            return StoreRejected(REJECTED)
