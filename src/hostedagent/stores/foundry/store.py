"""Records in a Foundry state store: one store for the agent, one HTTP call for each record read or written.

Users are separated twice: the service partitions items by the user behind the call id of the request, and the key of
every item is a hash that begins with the scope. An item holds the value with the key it was written for, a token of the
write and the version it replaced; with these, a write whose answer was lost is recognised and is not a conflict.

Reading does not create the store: records of a store that does not exist are absent. The first write creates it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import math
import os
import re
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from azure.identity.aio import DefaultAzureCredential
from msgspec import Struct

from hostedagent.identity import Caller
from hostedagent.protocol.types import Json
from hostedagent.stores.base import (
    ABSENT,
    DEFAULT_TTL,
    Etag,
    Key,
    Record,
    StoreConflict,
    StoreTooLarge,
    StoreUnavailable,
    Write,
)
from hostedagent.stores.foundry.client import FoundryClient, Refused
from hostedagent.stores.retry import RetryPolicy

if TYPE_CHECKING:
    from azure.ai.agentserver.core.storage import StateStoreItem
    from azure.core.credentials import AccessToken
    from azure.core.credentials_async import AsyncTokenCredential

logger = logging.getLogger(__name__)

NAME: Final = "hostedagent"
"""The name of the state store in the project, where one agent has all of it."""

MAX_ITEM_BYTES: Final = 1_000_000
"""The largest item of the service, as JSON in UTF-8."""

_READS_AT_ONCE: Final = 8

_FRAGILE = re.compile(rb"\\u0000|\d{16}|\\ud")
"""Values that a service may change when it parses JSON: NUL, numbers beyond a double, lone surrogates."""


class FoundryStore:
    """A `Store` in Foundry.

    Args:
        credential: Closed by its owner.
        retention: Seconds that a record lives after its last write; `math.inf` for ever. The service knows no lifetime
            of a single record, so `Write.ttl` is ignored.
        ca_file: A PEM file of the authority that signed the endpoint's certificate, in place of the public ones.

    Call `aclose()`, or use it in `async with`.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        credential: AsyncTokenCredential,
        retention: float = DEFAULT_TTL,
        retry: RetryPolicy | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        name: str = NAME,
    ) -> None:
        self._client = FoundryClient(
            name,
            credential,
            endpoint,
            ttl_seconds=-1 if math.isinf(retention) else max(1, int(retention)),
            ca_file=os.fspath(ca_file) if ca_file is not None else None,
            retry=retry or RetryPolicy(),
        )
        self._slots = asyncio.Semaphore(_READS_AT_ONCE)

    async def read(self, caller: Caller, keys: Sequence[Key]) -> list[Record | None]:
        """The records in the order of the keys.

        Raises:
            StoreUnavailable: The service did not answer in time, or not usably.
        """
        return list(await asyncio.gather(*(self._read(caller, key) for key in keys)))

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        """Write the records in order, stopping at the first failure.

        Raises:
            StoreConflict: An `expect` does not match.
            StoreTooLarge: A value is larger than the service accepts.
            StoreUnavailable: The service did not answer in time; or the answer to a write was lost and others wrote
                since, so that it is unknown whether it happened.
        """
        return [await self._write(caller, write) for write in writes]

    async def delete(self, caller: Caller, keys: Sequence[Key], *, expect: Etag | None = None) -> None:
        """Erase the records in order.

        Raises:
            StoreConflict: `expect` does not match.
            StoreUnavailable: The service did not answer in time; or the answer to a delete was lost, so that it is
                unknown who erased the record.
        """
        for key in keys:
            await self._delete(caller, key, expect)

    async def aclose(self) -> None:
        """Close the connections; they open again when they are needed."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object, **__: object) -> None:
        await self.aclose()

    async def _read(self, caller: Caller, key: Key) -> Record | None:
        async with self._slots:
            item = await self._client.get(caller.scope.key(*key), caller.call_id)
        return Record(_load(item).value, item.etag) if item is not None else None

    async def _write(self, caller: Caller, write: Write) -> Etag:
        if write.value is None:
            await self._delete(caller, write.key, write.expect)
            return ABSENT
        place, token, expect = caller.scope.key(*write.key), uuid.uuid4().hex, write.expect
        document = _dump(write.key, write.value, token, expect)
        try:
            return await self._client.write(place, document, expect, caller.call_id)
        except Refused as refused:
            if refused.is_certain and expect is not None:
                raise _conflict(write.key) from None
        current = await self._client.get(place, caller.call_id)
        if current is not None:
            stored = _load(current)
            if stored.token == token:
                return current.etag
            if stored.replaced == expect and expect is not None:
                raise _conflict(write.key)
        raise StoreUnavailable("The state store lost the answer to a write.")

    async def _delete(self, caller: Caller, key: Key, expect: Etag | None) -> None:
        place = caller.scope.key(*key)
        if expect == ABSENT:
            if await self._client.get(place, caller.call_id) is not None:
                raise _conflict(key)
            return
        try:
            await self._client.delete(place, expect, caller.call_id)
            return
        except Refused as refused:
            if refused.is_certain:
                raise _conflict(key) from None
        current = await self._client.get(place, caller.call_id)
        if current is not None and _load(current).replaced == expect:
            raise _conflict(key)
        raise StoreUnavailable("The state store lost the answer to a delete.")


class _Stored(Struct, frozen=True):
    """The content of an item: a value, the token of its write, and the version it replaced."""

    value: bytes
    token: str
    replaced: Etag | None


def _dump(key: Key, value: bytes, token: str, replaced: Etag | None) -> dict[str, Json]:
    document: dict[str, Json] = {"key": json.dumps(key.name), "write": token, "replaced": replaced, **_encoded(value)}
    if len(value) > MAX_ITEM_BYTES // 2 and len(json.dumps(document, ensure_ascii=False).encode()) > MAX_ITEM_BYTES:
        raise StoreTooLarge(f"The record of kind {key.kind!r} has more than {MAX_ITEM_BYTES} bytes as it is stored.")
    return document


def _encoded(value: bytes) -> dict[str, Json]:
    """JSON in our own form as JSON, which is the smallest and can be read in the portal; else text, else base64."""
    if value[:1] == b"{" and not _FRAGILE.search(value):
        try:
            parsed = json.loads(value)
            if _compact(parsed) == value:
                return {"value": parsed}
        except (ValueError, RecursionError):
            pass
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
    return {"text": text} if "\x00" not in text else {"base64": base64.b64encode(value).decode()}


def _load(item: StateStoreItem) -> _Stored:
    stored: Any = item.value
    try:
        return _Stored(_decoded(stored), stored["write"], stored["replaced"])
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error):
        logger.warning("An item of the state store has a form that hostedagent does not write.")
        raise StoreUnavailable("The state store holds an item of an unknown form.") from None


def _decoded(stored: Any) -> bytes:
    if "text" in stored:
        return stored["text"].encode()
    if "base64" in stored:
        return base64.b64decode(stored["base64"])
    if "json" in stored:  # Written by version 0.1.
        return stored["json"].encode()
    return _compact(stored["value"])


def _compact(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _conflict(key: Key) -> StoreConflict:
    return StoreConflict(f"The record of kind {key.kind!r} changed since it was read.")


class OwnCredential:
    """A `DefaultAzureCredential` that is created on first use, and again after it was closed.

    A closed credential cannot be reused and keeps its tokens, which would be wrong after a memory snapshot.
    """

    def __init__(self) -> None:
        self._opened: DefaultAzureCredential | None = None

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token for these scopes; raises `ClientAuthenticationError` when there is none."""
        if self._opened is None:
            self._opened = DefaultAzureCredential()
        return await self._opened.get_token(*scopes, **options)

    async def close(self) -> None:
        """Close its connections, and drop its tokens."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object, **__: object) -> None:
        await self.close()
