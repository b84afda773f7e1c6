"""Continuation tokens, which identify the background work of a model's service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from msgspec import Struct

from hostedagent.identity import Caller
from hostedagent.protocol.types import Item, Json, answered_calls, is_call_output
from hostedagent.stores.base import Key, Store
from hostedagent.stores.values import read_value, write_value

TOKEN: Final = "continuation-token"

Token: TypeAlias = Mapping[str, Json]


class Place(Struct, frozen=True):
    """The progress of a turn in the background work of its service.

    Args:
        token: Identifies the current or last work of the service.
        calls: The tool calls of that work, once they have run.
        service_id: The service's response that their results continue.
    """

    token: Token
    calls: tuple[str, ...] = ()
    service_id: Json = None

    def is_answered(self, items: Iterable[Item]) -> bool:
        """Whether the items contain the results of its calls, so that the service only needs to receive them."""
        ids = answered_calls(items)
        return bool(self.calls) and ids.issuperset(self.calls)

    def results(self, items: Iterable[Item]) -> tuple[Item, ...]:
        """The results of its calls."""
        found = {item["call_id"]: item for item in items if is_call_output(item)}
        return tuple(found[call_id] for call_id in self.calls)


class ContinuationTokens:
    """The continuation tokens of responses. They belong to the service and are never sent to callers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def save(self, caller: Caller, response_id: str, place: Place) -> None:
        """Store the progress of a response's turn."""
        await write_value(self._store, caller, Key(TOKEN, response_id), place)

    async def load(self, caller: Caller, response_id: str) -> Place | None:
        """The progress of the turn; `None` if the service has nothing to resume."""
        stored = await read_value(self._store, caller, Key(TOKEN, response_id))
        return stored.load(Place) if stored is not None else None

    async def delete(self, caller: Caller, response_id: str) -> None:
        """Delete the token, if there is one."""
        await self._store.delete(caller, [Key(TOKEN, response_id)])
