"""The response store: the SDK's provider behind a wall for each scope, with the promises that a conversation needs.

It partitions by scope on every supported SDK version, says not-found for a `previous_response_id` that is not there,
stores how a turn ended before the caller is told, so that the next turn reads it, and keeps the items of failed and
cancelled turns out of every later prompt.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from azure.ai.agentserver.responses import (
    FoundryBadRequestError,
    FoundryResourceNotFoundError,
    ResponseProviderProtocol,
)
from azure.ai.agentserver.responses.store import ResponseAlreadyExistsError

from hostedagent.identity import Scope, current_scope
from hostedagent.types import Json

if TYPE_CHECKING:
    from azure.ai.agentserver.responses import PlatformContext

MAX_OWNERS: Final = 4_000
"""How many response ids are remembered with their owners."""

_WHOLE: Final = -1
"""The history limit that means none."""

_RUNNING: Final = ("in_progress", "queued")

EXCLUDED: ContextVar[frozenset[str]] = ContextVar("hostedagent_excluded", default=frozenset())
"""Items that the prompt of the turn in this context must not see: failed turns left them."""


@dataclass(slots=True)
class _InFlight:
    """A response between its first write and its last."""

    scope: Scope
    conversation: str | None
    created: Mapping[str, Json]
    item_ids: tuple[str, ...] = ()
    committed: str | None = None


class ResponseStore:
    """A `ResponseProviderProtocol` for the SDK, safe for tenants.

    Args:
        provider_of: The provider that holds a scope's responses.
    """

    def __init__(self, provider_of: Callable[[Scope], ResponseProviderProtocol]) -> None:
        self._provider_of = provider_of
        self._in_flight: dict[str, _InFlight] = {}
        self._owners: OrderedDict[str, str] = OrderedDict()
        self._claimed: set[str] = set()
        self._refusals: dict[str, Callable[[], Awaitable[None]]] = {}

    @contextmanager
    def told_of_refusal(self, response_id: str, refused: Callable[[], Awaitable[None]]) -> Generator[None]:
        """While this is entered, `refused` is called when the first write of the response fails."""
        self._refusals[response_id] = refused
        try:
            yield
        finally:
            self._refusals.pop(response_id, None)

    def input_ids(self, response_id: str) -> tuple[str, ...]:
        """The ids of the input items of a response in flight."""
        turn = self._in_flight.get(response_id)
        return turn.item_ids if turn is not None else ()

    async def commit(self, response: Mapping[str, Json], *, context: PlatformContext | None = None) -> None:
        """Store how a response ended before anybody is told. The SDK writes the same later; that is then left out.

        Raises:
            Exception: The provider's, when it could not be stored.
        """
        turn = self._in_flight.get(str(response["id"]))
        if turn is None:
            return  # Not stored, or its first write failed and the SDK tells that.
        whole = {**turn.created, **{key: value for key, value in response.items() if value is not None}}
        await self._provider(turn.scope).update_response(cast("Any", whole), context=context)
        turn.committed = str(response["status"])

    async def owns(self, response_id: str, *, context: PlatformContext | None = None) -> bool:
        """Whether a response is there and belongs to the current scope."""
        owner = self._owners.get(response_id)
        if owner is not None:
            return owner == current_scope().key()
        try:
            await self._provider().get_response(response_id, context=context)
        except (FoundryResourceNotFoundError, KeyError):
            return False
        return True

    def claim(self, response_id: str) -> bool:
        """Take an id that the platform chose, until `release_claim`; `False` when anybody has or had it."""
        if response_id in self._owners or response_id in self._claimed:
            return False
        self._claimed.add(response_id)
        return True

    def release_claim(self, response_id: str) -> None:
        """Let go of an id: its response is there now, or never will be."""
        self._claimed.discard(response_id)

    async def orphans(
        self, conversation_id: str, head: str | None, *, context: PlatformContext | None = None
    ) -> tuple[str, ...]:
        """The items behind the head of a conversation: a turn that died left them."""
        provider = self._provider()
        ids = await provider.get_history_item_ids(None, conversation_id, _WHOLE, context=context)
        own = await provider.get_history_item_ids(head, None, _WHOLE, context=context) if head is not None else []
        last = max((n for n, item_id in enumerate(ids) if item_id in set(own)), default=-1)
        return tuple(ids[last + 1 :])

    async def create_response(
        self,
        response: Any,
        input_items: Iterable[Any] | None,
        history_item_ids: Iterable[str] | None,
        *,
        context: PlatformContext | None = None,
    ) -> None:
        """Store a new response and its input."""
        response_id = str(response["id"])
        scope = current_scope()
        items = list(input_items) if input_items is not None else None
        turn = _InFlight(scope, _conversation_of(response), dict(response), _ids(items or ()))
        self._in_flight[response_id] = turn
        try:
            await self._provider(scope).create_response(response, items, history_item_ids, context=context)
        except BaseException as error:
            # One that exists already is a turn taken up again; the SDK goes on with it.
            refused = self._refusals.get(response_id)
            if (
                refused is not None
                and isinstance(error, Exception)
                and not isinstance(error, ResponseAlreadyExistsError)
            ):
                await refused()  # Still in flight: what may have been stored must stay out of later prompts.
            self._settle(response_id)
            raise
        self._owners[response_id] = sys.intern(scope.key())
        while len(self._owners) > MAX_OWNERS:
            self._owners.popitem(last=False)
        if response.get("status") not in _RUNNING:
            self._settle(response_id)

    async def update_response(self, response: Any, *, context: PlatformContext | None = None) -> None:
        """Store the response anew; its last write settles it."""
        turn = self._in_flight.get(response["id"])
        try:
            if turn is None or turn.committed != response.get("status"):
                scope = turn.scope if turn is not None else current_scope()
                await self._provider(scope).update_response(response, context=context)
        finally:
            if response.get("status") not in _RUNNING:
                self._settle(response["id"])

    async def get_response(self, response_id: str, *, context: PlatformContext | None = None) -> Any:
        """The stored response."""
        return await self._provider().get_response(response_id, context=context)

    async def delete_response(self, response_id: str, *, context: PlatformContext | None = None) -> None:
        """Delete the response."""
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
        running = self._in_flight.get(previous_response_id or "")
        if running is not None and running.committed is None and running.scope == current_scope():
            raise FoundryBadRequestError(f"Response with id '{previous_response_id}' is still running.")
        ids = await self._provider().get_history_item_ids(previous_response_id, conversation_id, limit, context=context)
        if previous_response_id is not None and not ids and not await self.owns(previous_response_id, context=context):
            raise FoundryResourceNotFoundError(f"Response with id '{previous_response_id}' not found.")
        excluded = EXCLUDED.get()
        return [item_id for item_id in ids if item_id not in excluded] if excluded else list(ids)

    def _provider(self, scope: Scope | None = None) -> ResponseProviderProtocol:
        return self._provider_of(scope or current_scope())

    def _settle(self, response_id: str) -> None:
        self._in_flight.pop(response_id, None)


def _ids(items: Iterable[Any]) -> tuple[str, ...]:
    return tuple(item_id for item in items if isinstance(item_id := item.get("id"), str))


def _conversation_of(response: Mapping[str, Json]) -> str | None:
    conversation = response.get("conversation")
    return cast("dict[str, str]", conversation).get("id") if isinstance(conversation, dict) else None
