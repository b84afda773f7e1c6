"""The contract of a state store: small JSON values, every call scoped, every write a compare-and-set."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from hostedagent.errors import HostError
from hostedagent.identity import Scope
from hostedagent.protocol.types import Json

Etag: TypeAlias = str
Value: TypeAlias = Mapping[str, Json]

ABSENT: Final[Etag] = ""
"""The etag of a key that has no value: `put(..., expect=ABSENT)` creates."""

MAX_VALUE_BYTES: Final = 990_000
"""The largest value, as compact JSON in UTF-8: Foundry's state stores take 1 MB, and what we add to it fits too."""

DEFAULT_TTL: Final = 30 * 86400.0
"""Seconds that a value lives after its last write."""


class StateConflict(HostError):
    """The value changed since it was read."""


class StateTooLarge(HostError):
    """The value is larger than `MAX_VALUE_BYTES`."""


class StateUnavailable(HostError):
    """The store did not answer, or not in time, or refused. A write that ends so may or may not have happened."""


@dataclass(frozen=True, slots=True)
class Versioned:
    """A value and the etag that a write of its successor must expect."""

    value: Value
    etag: Etag


class StateStore(Protocol):
    """Keeps small JSON objects.

    Concurrency: calls may come from many tasks; a `put` with `expect` is atomic.
    Exceptions: `StateConflict`, `StateTooLarge`, `ValueError` for a value that is not JSON; anything else, above all
    `StateUnavailable`, means that the store is unavailable.
    Cancellation: a cancelled `put` or `delete` either happened or did not.
    Isolation: a value is reachable only through an equal `Scope`. Kinds and keys are any strings.
    Ownership: what was written, and what was read, is the caller's; changing it later changes nothing here.
    An etag is never used twice for one key, not even after a `delete`.
    `hostedagent.testing.StateStoreContract` is this text as a test suite.
    """

    async def get(self, scope: Scope, kind: str, key: str) -> Versioned | None:
        """The value, or `None`."""
        ...

    async def put(self, scope: Scope, kind: str, key: str, value: Value, *, expect: Etag | None = None) -> Etag:
        """Write, and return the new etag. `expect` is the etag that must stand, `ABSENT` for none, `None` for any."""
        ...

    async def delete(self, scope: Scope, kind: str, key: str, *, expect: Etag | None = None) -> None:
        """Remove the value; nothing happens when there is none."""
        ...

    def keys(self, scope: Scope, kind: str) -> AsyncIterator[str]:
        """The keys of a kind, in no order."""
        ...


def value_to_json(kind: str, value: Value) -> str:
    """The compact JSON text of a value, in ASCII so that half a surrogate pair survives.

    Raises:
        StateTooLarge: It is larger than `MAX_VALUE_BYTES`.
        ValueError: It is not JSON: an object of another type, or a number that JSON cannot say.
    """
    try:
        text = json.dumps(dict(value), separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"The value of {kind!r} is not JSON: {error}") from None
    if len(text) > MAX_VALUE_BYTES and _utf8_bytes(value) > MAX_VALUE_BYTES:
        raise StateTooLarge(f"The value of {kind!r} has more than {MAX_VALUE_BYTES} bytes.")
    return text


def _utf8_bytes(value: Value) -> int:
    text = json.dumps(dict(value), separators=(",", ":"), ensure_ascii=False)
    return len(text.encode("utf-8", "surrogatepass"))
