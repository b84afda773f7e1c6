"""The contract of a state store: small JSON values, every call scoped, every write a compare-and-set."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from hostedagent.errors import HostError
from hostedagent.identity import Scope
from hostedagent.types import Json

Etag: TypeAlias = str
Value: TypeAlias = Mapping[str, Json]

ABSENT: Final[Etag] = ""
"""The etag of a key that has no value: `put(..., expect=ABSENT)` creates."""

MAX_VALUE_BYTES: Final = 1_000_000
"""The largest value, as JSON in UTF-8 (the limit of Foundry's state stores)."""


class StateConflict(HostError):
    """The value changed since it was read."""


class StateTooLarge(HostError):
    """The value is larger than `MAX_VALUE_BYTES`."""


@dataclass(frozen=True, slots=True)
class Versioned:
    """A value and the etag that a write of its successor must expect."""

    value: Value
    etag: Etag


class StateStore(Protocol):
    """Keeps small JSON objects.

    Concurrency: calls may come from many tasks; a `put` with `expect` is atomic.
    Exceptions: `StateConflict`, `StateTooLarge`; anything else means that the store is unavailable.
    Cancellation: a cancelled `put` or `delete` either happened or did not.
    Isolation: a value is reachable only through an equal `Scope`.
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
