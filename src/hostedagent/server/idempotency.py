"""`Idempotency-Key`: a repeated request attaches to its running turn or gets its response, without a second turn.

A turn with a key continues when its client disconnects, because the client will send the request again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, cast

from hostedagent.errors import Busy, InvalidRequest, KeyReused
from hostedagent.identity import Caller
from hostedagent.stores.idempotency import IdempotencyKeys

if TYPE_CHECKING:
    from starlette.types import Message, Receive

HEADER: Final = "idempotency-key"

_LONGEST: Final = 256


class HashedBody:
    """A `receive` that hashes the body as it was sent."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._hash = hashlib.sha256()

    async def __call__(self) -> Message:
        """The next message."""
        message = await self._receive()
        self._hash.update(cast("bytes", message.get("body", b"")))
        return message

    @property
    def digest(self) -> str:
        """The hash of the body."""
        return self._hash.hexdigest()


def key_of(headers: Mapping[str, str]) -> str | None:
    """The key of a request; `None` if there is none. Raises `InvalidRequest` when it is empty or too long."""
    key = headers.get(HEADER)
    if key is not None and not 0 < len(key) <= _LONGEST:
        raise InvalidRequest(f"Idempotency-Key has 1 to {_LONGEST} characters.")
    return key


async def earlier_response(
    keys: IdempotencyKeys,
    caller: Caller,
    key: str,
    digest: str,
    response_id: str,
    exists: Callable[[str], Awaitable[bool]],
    forbid: Callable[[str], Awaitable[bool]],
) -> str | None:
    """Use a key for a response; returns the earlier response of the key, or `None` for the first use.

    Args:
        exists: Whether a response exists.
        forbid: Makes sure that a response is not created any more; `False` if it exists.

    Raises:
        KeyReused: The key was used with another body.
        Busy: The response does not exist yet.
    """
    use = await keys.use(caller, key, digest, response_id)
    if use.response_id == response_id:
        return None
    if use.digest != digest:
        raise KeyReused("This Idempotency-Key was sent with another body. Use a new key for a new request.")
    if await exists(use.response_id):
        return use.response_id
    if not await keys.has_ended(use):
        raise Busy("The request with this Idempotency-Key or id is being accepted. Send it again in a moment.")
    if not await forbid(use.response_id):  # The last action of its process.
        return use.response_id
    await keys.free(caller, key, use.response_id)
    return await earlier_response(keys, caller, key, digest, response_id, exists, forbid)
