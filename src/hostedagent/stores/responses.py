"""The response store: the SDK's provider behind a wall for each scope, with the promises that a conversation needs.

It partitions by scope on every supported SDK version, says not-found for a `previous_response_id` that is not there,
lets the next turn read what this one wrote although the terminal event leaves before the SDK's last write, and keeps
the items of failed and cancelled turns out of every later prompt.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from azure.ai.agentserver.responses import FoundryResourceNotFoundError, ResponseProviderProtocol

from hostedagent.identity import Scope, current_scope
from hostedagent.types import Json

if TYPE_CHECKING:
    from azure.ai.agentserver.responses import PlatformContext

logger = logging.getLogger(__name__)

SETTLE_SECONDS: Final = 10.0
"""How long a turn waits for the last write of the turn it continues."""

EXCLUDED: ContextVar[frozenset[str]] = ContextVar("hostedagent_excluded", default=frozenset())
"""Items that the prompt of the turn in this context must not see: failed turns left them."""


@dataclass(slots=True)
class _InFlight:
    """A response between its first write and its last."""

    scope: Scope
    conversation: str | None
    item_ids: list[str] = field(default_factory=list[str])
    is_ending: bool = False
    settled: asyncio.Event = field(default_factory=asyncio.Event)


class ResponseStore:
    """A `ResponseProviderProtocol` for the SDK, safe for tenants.

    Args:
        provider_of: The provider that holds a scope's responses.
    """

    def __init__(self, provider_of: Callable[[Scope], ResponseProviderProtocol]) -> None:
        self._provider_of = provider_of
        self._in_flight: dict[str, _InFlight] = {}

    def input_ids(self, response_id: str) -> tuple[str, ...]:
        """The ids of the input items of a response in flight."""
        turn = self._in_flight.get(response_id)
        return tuple(turn.item_ids) if turn is not None else ()

    def ending(self, response_id: str) -> None:
        """The terminal event of a response is about to leave: a turn that continues it must wait for its last write."""
        if (turn := self._in_flight.get(response_id)) is not None:
            turn.is_ending = True

    async def create_response(
        self,
        response: Any,
        input_items: Iterable[Any] | None,
        history_item_ids: Iterable[str] | None,
        *,
        context: PlatformContext | None = None,
    ) -> None:
        """Store a new response and its input."""
        turn = _InFlight(current_scope(), _conversation_of(response))
        items = list(input_items) if input_items is not None else None
        turn.item_ids = _ids(items or ())
        self._in_flight[response["id"]] = turn
        await self._provider(turn.scope).create_response(response, items, history_item_ids, context=context)
        if response.get("status") not in ("in_progress", "queued"):
            self._settle(response["id"])

    async def update_response(self, response: Any, *, context: PlatformContext | None = None) -> None:
        """Store the response anew; its last write settles it."""
        turn = self._in_flight.get(response["id"]) or _InFlight(current_scope(), _conversation_of(response))
        try:
            await self._provider(turn.scope).update_response(response, context=context)
        finally:
            if response.get("status") not in ("in_progress", "queued"):
                self._settle(response["id"])

    async def get_response(self, response_id: str, *, context: PlatformContext | None = None) -> Any:
        """The stored response."""
        await self._wait_for(lambda key, turn: key == response_id)
        return await self._provider().get_response(response_id, context=context)

    async def delete_response(self, response_id: str, *, context: PlatformContext | None = None) -> None:
        """Delete the response."""
        await self._wait_for(lambda key, turn: key == response_id)
        await self._provider().delete_response(response_id, context=context)

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
        """The input items of a response."""
        provider = self._provider()
        return await provider.get_input_items(response_id, limit, ascending, after, before, context=context)

    async def get_items(self, item_ids: Iterable[str], *, context: PlatformContext | None = None) -> Any:
        """Items by id, `None` for each that is not there."""
        return await self._provider().get_items(item_ids, context=context)

    async def find_items(self, item_ids: Iterable[str], *, context: PlatformContext | None = None) -> Any:
        """Items by id as `get_items`, also those of a turn whose terminal event has just left."""
        await self._wait_for(lambda key, turn: True)
        return await self.get_items(item_ids, context=context)

    async def get_history_item_ids(
        self,
        previous_response_id: str | None,
        conversation_id: str | None,
        limit: int,
        *,
        context: PlatformContext | None = None,
    ) -> list[str]:
        """The ids of the conversation's items, oldest first, without those of failed and cancelled turns.

        Raises:
            FoundryResourceNotFoundError: `previous_response_id` is not there, or belongs to somebody else.
        """
        await self._wait_for(
            lambda key, turn: key == previous_response_id or turn.conversation == conversation_id is not None
        )
        ids = await self._provider().get_history_item_ids(previous_response_id, conversation_id, limit, context=context)
        if previous_response_id is not None and not ids:
            raise FoundryResourceNotFoundError(f"Response with id '{previous_response_id}' not found.")
        excluded = EXCLUDED.get()
        return [item_id for item_id in ids if item_id not in excluded] if excluded else list(ids)

    def _provider(self, scope: Scope | None = None) -> ResponseProviderProtocol:
        return self._provider_of(scope or current_scope())

    def _settle(self, response_id: str) -> None:
        if (turn := self._in_flight.pop(response_id, None)) is not None:
            turn.settled.set()

    async def _wait_for(self, concerns: Callable[[str, _InFlight], bool]) -> None:
        scope = current_scope()
        waits = [
            turn.settled.wait()
            for key, turn in self._in_flight.items()
            if turn.is_ending and turn.scope == scope and concerns(key, turn)
        ]
        if waits:
            try:
                await asyncio.wait_for(asyncio.gather(*waits), SETTLE_SECONDS)
            except TimeoutError:
                logger.error("The last write of a response took more than %.0f s.", SETTLE_SECONDS)


def _ids(items: Iterable[Any]) -> list[str]:
    return [item_id for item in items if isinstance(item_id := item.get("id"), str)]


def _conversation_of(response: Mapping[str, Json]) -> str | None:
    conversation = response.get("conversation")
    return cast("dict[str, str]", conversation).get("id") if isinstance(conversation, dict) else None
