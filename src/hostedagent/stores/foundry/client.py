"""The calls of a Foundry state store: bounded in time, and retried where that is safe.

The SDK's client retries by itself without reporting it, and so does aiohttp below it: a write whose answer was lost
would look like one that lost the race. Both are prevented from retrying, and `Refused.is_certain` distinguishes the
two cases. No text of the service leaves this module.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiohttp
from azure.ai.agentserver.core.storage import (
    FoundryStateStore,
    FoundryStorageApiError,
    FoundryStorageConflictError,
    FoundryStorageEndpoint,
    FoundryStorageError,
    FoundryStorageNotFoundError,
    FoundryStoragePreconditionError,
)
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.core.pipeline.transport import AioHttpTransport

from hostedagent.errors import ConfigurationError
from hostedagent.platform import HOSTING_VARIABLE, is_hosted
from hostedagent.protocol.types import Json
from hostedagent.stores.base import Etag, StoreTooLarge, StoreUnavailable
from hostedagent.stores.retry import RetryPolicy, pause_before

if TYPE_CHECKING:
    from azure.ai.agentserver.core.storage import StateStoreItem, StateStoreItemRef
    from azure.core.credentials_async import AsyncTokenCredential

logger = logging.getLogger(__name__)

_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
_T = TypeVar("_T")


class Refused(Exception):
    """The condition of a write or delete was not met, or there is no item to compare with.

    Args:
        is_certain: Whether nothing changed. Otherwise an earlier attempt may have been applied before it failed.
    """

    def __init__(self, *, is_certain: bool) -> None:
        super().__init__()
        self.is_certain = is_certain


class _Missing(Refused):
    """The store does not exist, or the item that a condition refers to."""


class _NoRetries(SansIOHTTPPolicy[Any, Any]):
    def on_request(self, request: PipelineRequest[Any]) -> None:
        request.context.options["retry_total"] = 0


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Report a broken connection: on a reused one, aiohttp repeats a PUT or DELETE by itself."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError("The connection broke.") from error


class _RemoteStore(FoundryStateStore):
    """The SDK's client over HTTP: outside a hosted process it would use a local file instead.

    Remove it when the oldest supported SDK honours an explicit `endpoint`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        with _as_hosted():
            super().__init__(*args, **options)


class FoundryClient:
    """The calls of one named state store, which the first write creates if necessary.

    Raises in every method:
        StoreUnavailable: No usable answer came in time.
    """

    def __init__(
        self,
        name: str,
        credential: AsyncTokenCredential,
        endpoint: str,
        *,
        ttl_seconds: int,
        ca_file: str | None,
        retry: RetryPolicy,
    ) -> None:
        try:
            resolved = FoundryStorageEndpoint.from_endpoint(endpoint)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"The Foundry state store {name!r} has no usable endpoint: {error}") from error
        self._retry = retry
        self._ca_file = ca_file
        self._options: dict[str, Any] = {
            "name": name,
            "credential": credential,
            "endpoint": resolved,
            "user_isolation": True,
            "item_ttl_seconds": ttl_seconds,
            "description": "Sessions, approvals and checkpoints of hostedagent",
            "per_call_policies": [_NoRetries()],
        }
        self._session: aiohttp.ClientSession | None = None
        self._opened: FoundryStateStore | None = None
        self._creating = asyncio.Lock()
        self._times_created = 0

    async def get(self, key: str, call_id: str | None) -> StateStoreItem | None:
        """An item, or `None` if it or the store does not exist."""

        async def send() -> StateStoreItem | None:
            item = await self._store.get_item(key, call_id=call_id)
            if item is not None:
                _etag(item)
            return item

        return await self._try(send)

    async def write(self, key: str, document: dict[str, Json], expect: Etag | None, call_id: str | None) -> Etag:
        """Write an item; an empty `expect` creates it, `None` writes over anything.

        Raises:
            Refused: `expect` does not stand.
            StoreTooLarge: The service found the item too large.
        """

        async def send() -> Etag:
            if expect == "":
                return _etag(await self._store.create_item(key, document, call_id=call_id))
            return _etag(await self._store.set_item(key, document, if_match=expect, call_id=call_id))

        times_created = self._times_created
        try:
            return await self._try(send)
        except _Missing:
            if expect:
                raise
        await self._create(times_created)
        try:
            return await self._try(send)
        except _Missing:
            raise StoreUnavailable("The state store could not be created.") from None

    async def delete(self, key: str, expect: Etag | None, call_id: str | None) -> None:
        """Delete an item; does nothing if there is none. Raises `Refused` when `expect` does not stand."""
        try:
            await self._try(lambda: self._store.delete_item(key, if_match=expect, call_id=call_id))
        except _Missing:
            if expect:
                raise

    async def aclose(self) -> None:
        """Close the connections; they are opened again on the next use."""
        store, self._opened = self._opened, None
        session, self._session = self._session, None
        if store is not None:
            await store.aclose()
        if session is not None:
            await session.close()

    @property
    def _store(self) -> FoundryStateStore:
        # Opened by the first call, because a session belongs to the running event loop.
        if self._opened is None:
            self._opened = _RemoteStore(**self._options, transport=self._transport())
        return self._opened

    def _transport(self) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                trust_env=True, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, middlewares=[_once]
            )
        verify = True if self._ca_file is None else self._ca_file
        return AioHttpTransport(session=self._session, session_owner=False, connection_verify=verify)

    async def _create(self, times_created: int) -> None:
        async with self._creating:
            # Another call created it while this one waited.
            if times_created != self._times_created:
                return
            created = await self._try(lambda: _RemoteStore.get_or_create(**self._options, transport=self._transport()))
            await created.aclose()
            self._times_created += 1

    async def _try(self, send: Callable[[], Awaitable[_T]]) -> _T:
        is_certain = True
        for attempt in range(self._retry.tries):
            await pause_before(attempt, self._retry)
            try:
                async with asyncio.timeout(self._retry.timeout):
                    return await send()
            except (FoundryStorageConflictError, FoundryStoragePreconditionError):
                raise Refused(is_certain=is_certain) from None
            except FoundryStorageNotFoundError:
                raise _Missing(is_certain=is_certain) from None
            except (FoundryStorageError, AzureError, OSError, ValueError, TypeError, KeyError) as error:
                _log(error)
                if not _is_passing(error):
                    break
                is_certain = is_certain and _left_no_trace(error)
        # The cause is dropped: its text comes from the service, and its status would be mistaken for the model's.
        raise StoreUnavailable("The state store did not answer.") from None


def _etag(item: StateStoreItem | StateStoreItemRef) -> Etag:
    if not isinstance(item.etag, str) or not item.etag:  # pyright: ignore[reportUnnecessaryIsInstance] - not checked
        raise ValueError("an item without an etag")
    return item.etag


def _is_passing(error: Exception) -> bool:
    """Whether the same call may succeed later."""
    match error:
        case FoundryStorageApiError(status_code=413):
            raise StoreTooLarge("The state store found the value too large.") from None
        case FoundryStorageError():
            return error.status_code in _AGAIN
        case ClientAuthenticationError():
            return False
        case _:
            return True


def _left_no_trace(error: Exception) -> bool:
    """Whether a call with this error was certainly not applied."""
    if isinstance(error, AzureError):
        return isinstance(error.inner_exception, aiohttp.ClientConnectorError)
    return isinstance(error, FoundryStorageError) and error.status_code == 429


def _log(error: Exception) -> None:
    status = getattr(error, "status_code", None)
    logger.warning("A call of the state store failed: %s%s", type(error).__name__, f" {status}" if status else "")


@contextmanager
def _as_hosted() -> Generator[None]:
    if is_hosted():
        yield
        return
    os.environ[HOSTING_VARIABLE] = "explicit"
    try:
        yield
    finally:
        del os.environ[HOSTING_VARIABLE]
