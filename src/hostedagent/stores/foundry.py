"""State in a Foundry state store: one store for the agent, two HTTP calls a plain turn (a read and a write).

Users are kept apart twice: the service partitions items by the user behind the call id of the request, and every item's
key is a hash that begins with the scope. An item holds the value with the key it was written for, a token of the write
and the version it replaced; with these, a write whose answer was lost is recognised as done and is no conflict.

Reading does not make the store: an absent store is an absent value. The first write makes it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from hostedagent.errors import ConfigurationError
from hostedagent.identity import Scope
from hostedagent.platform import is_hosted
from hostedagent.protocol.types import Json
from hostedagent.stores.base import (
    ABSENT,
    DEFAULT_TTL,
    Etag,
    StateConflict,
    StateTooLarge,
    StateUnavailable,
    Value,
    Versioned,
    value_to_json,
)

if TYPE_CHECKING:
    from azure.ai.agentserver.core.storage import StateStoreItem, StateStoreItemKey
    from azure.core.credentials_async import AsyncTokenCredential

    from hostedagent.stores.foundry_client import FoundryClient

logger = logging.getLogger(__name__)

MAX_ITEM_BYTES: Final = 1_000_000
"""The largest item of the service, as JSON in UTF-8."""

_OWNER_TAG: Final = "owner"
_KEY_TAG: Final = "key"

_TAGGABLE = re.compile(r"[!-~]{1,256}")
_FRAGILE = re.compile(r"\\u0000|\d{16}")


class FoundryState:
    """A `StateStore` in Foundry.

    Without an endpoint and a credential it can only be built in a hosted process; a local one wants `FileStateStore`.

    Args:
        name: The state store's name; made with `ttl` and `user_isolation` when it does not exist, else taken as it is.
        endpoint: The project's endpoint; by default `FOUNDRY_PROJECT_ENDPOINT`.
        credential: Closed by its owner. By default a `DefaultAzureCredential`, closed by `aclose()`.
        ttl: Seconds that a value lives after its last write; `math.inf` for ever.
        user_isolation: Whether the service partitions the items by user.
        call_id: The call id of the current request; by default the SDK's request context, which is set while a turn
            runs.
        timeout: Seconds for one HTTP call.
        tries: How often a call that broke is tried.
        pause: Seconds before the second try, doubled for each further one.
        ca_file: A PEM file of the authority that signed the endpoint's certificate, in place of the public ones.

    Call `aclose()`, or use it in `async with`.
    """

    def __init__(
        self,
        name: str = "hostedagent",
        *,
        endpoint: str | None = None,
        credential: AsyncTokenCredential | None = None,
        ttl: float = DEFAULT_TTL,
        user_isolation: bool = True,
        call_id: Callable[[], str | None] = lambda: None,
        timeout: float = 5.0,
        tries: int = 3,
        pause: float = 0.2,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        if not is_hosted() and (endpoint is None or credential is None):
            raise ConfigurationError(
                "FoundryState needs an endpoint and a credential when the process is not hosted; "
                "use FileStateStore or MemoryStateStore to keep state on this machine."
            )
        # Imported here: most processes never build this store.
        from hostedagent.stores.foundry_client import FoundryClient
        from hostedagent.stores.retry import Patience

        self._own_credential = None
        if credential is None:
            from azure.identity.aio import DefaultAzureCredential

            credential = self._own_credential = DefaultAzureCredential()
        self._client: FoundryClient = FoundryClient(
            name,
            credential,
            endpoint,
            user_isolation=user_isolation,
            ttl_seconds=-1 if math.isinf(ttl) else max(1, int(ttl)),
            ca_file=os.fspath(ca_file) if ca_file is not None else None,
            patience=Patience(timeout=timeout, tries=tries, pause=pause),
            call_id=call_id,
        )

    async def get(self, scope: Scope, kind: str, key: str) -> Versioned | None:
        """The value, or `None`.

        Raises:
            StateUnavailable: The service did not answer in time, or not usably.
        """
        item = await self._client.get(scope.key(kind, key))
        return Versioned(_read(item).value, item.etag) if item is not None else None

    async def put(self, scope: Scope, kind: str, key: str, value: Value, *, expect: Etag | None = None) -> Etag:
        """Write, and return the new etag.

        Raises:
            StateConflict: `expect` does not stand.
            StateTooLarge: The value is larger than `MAX_VALUE_BYTES`.
            StateUnavailable: The service did not answer in time; or the answer to this write was lost and others
                wrote since, so that nobody can say whether it happened.
        """
        from hostedagent.stores.foundry_client import Refused

        place, write = scope.key(kind, key), uuid.uuid4().hex
        document = _dump(kind, key, value, write, expect)
        tags = {_OWNER_TAG: scope.key(kind)} | ({_KEY_TAG: key} if _TAGGABLE.fullmatch(key) else {})
        try:
            return await self._client.write(place, document, tags, expect)
        except Refused as refused:
            if refused.is_certain and expect is not None:
                raise _conflict(kind) from None
        standing = await self._client.get(place)
        if standing is not None:
            kept = _read(standing)
            if kept.write == write:
                return standing.etag
            if kept.replaced == expect and expect is not None:
                raise _conflict(kind)
        raise StateUnavailable("The state store lost the answer to a write.")

    async def delete(self, scope: Scope, kind: str, key: str, *, expect: Etag | None = None) -> None:
        """Remove the value; nothing happens when there is none.

        Raises:
            StateConflict: `expect` does not stand.
            StateUnavailable: The service did not answer in time; or the answer to this delete was lost, so that
                nobody can say who removed the value.
        """
        from hostedagent.stores.foundry_client import Refused

        place = scope.key(kind, key)
        if expect == ABSENT:
            if await self._client.get(place) is not None:
                raise _conflict(kind)
            return
        try:
            await self._client.delete(place, expect)
            return
        except Refused as refused:
            if refused.is_certain:
                raise _conflict(kind) from None
        standing = await self._client.get(place)
        if standing is not None and _read(standing).replaced == expect:
            raise _conflict(kind)
        raise StateUnavailable("The state store lost the answer to a delete.")

    async def keys(self, scope: Scope, kind: str) -> AsyncIterator[str]:
        """The keys of a kind, in no order; a page of a hundred costs one call, and one more for each unusual key."""
        owner = scope.key(kind)
        after: str | None = None
        while (page := await self._client.page({_OWNER_TAG: owner}, after)) is not None:
            for listed in page.keys:
                key = await self._key(listed, owner)
                if key is not None and scope.key(kind, key) == listed.key:
                    yield key
            if not page.has_more or page.last_id is None or page.last_id == after:
                return
            after = page.last_id

    async def aclose(self) -> None:
        """Close the connections, and the credential when it is the store's own."""
        try:
            await self._client.aclose()
        finally:
            if self._own_credential is not None:
                await self._own_credential.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _key(self, listed: StateStoreItemKey, owner: str) -> str | None:
        tags: Mapping[str, str] = listed.tags or {}
        if tags.get(_OWNER_TAG) != owner:
            return None
        if _KEY_TAG in tags:
            return tags[_KEY_TAG]
        item = await self._client.get(listed.key)
        return _read(item).key if item is not None else None


@dataclass(frozen=True, slots=True)
class _Document:
    """What an item holds: a value, the key it was written for, its write's token, and the version it replaced."""

    key: str
    write: str
    replaced: Etag | None
    value: Value


def _dump(kind: str, key: str, value: Value, write: str, replaced: Etag | None) -> dict[str, Json]:
    text = value_to_json(kind, value)
    document: dict[str, Json] = {"key": json.dumps(key), "write": write, "replaced": replaced}
    if not _is_fragile(text):
        # Parsed from the text: a caller that goes on changing its value must not change a write under way.
        return document | {"value": json.loads(text)}
    document["json"] = text
    if len(json.dumps(document)) > MAX_ITEM_BYTES:
        raise StateTooLarge(f"The value of {kind!r} has more than {MAX_ITEM_BYTES} bytes as it is stored.")
    return document


def _read(item: StateStoreItem) -> _Document:
    stored = item.value
    try:
        value = json.loads(stored["json"]) if "json" in stored else stored["value"]
        return _Document(json.loads(stored["key"]), stored["write"], stored["replaced"], value)
    except (KeyError, TypeError, ValueError):
        logger.warning("An item of the state store has a shape that hostedagent does not write.")
        raise StateUnavailable("The state store holds an item of another shape.") from None


def _is_fragile(text: str) -> bool:
    """Whether a service that parses JSON might change it: NUL, half a surrogate pair, numbers beyond a double."""
    if _FRAGILE.search(text):
        return True
    if "\\ud" not in text:
        return False
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _conflict(kind: str) -> StateConflict:
    return StateConflict(f"The value of {kind!r} changed since it was read.")
