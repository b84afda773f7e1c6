"""The response store: the SDK's provider behind a wall for each scope, with the promises that a conversation needs.

It partitions by scope on every supported SDK version, says not-found for a `previous_response_id` that is not there,
stores how a turn ended before the caller is told, so that the next turn reads it, and keeps the items of failed and
cancelled turns out of every later prompt.
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from azure.ai.agentserver.responses import (
    FoundryBadRequestError,
    FoundryResourceNotFoundError,
    ResponseProviderProtocol,
)
from azure.ai.agentserver.responses.store import ResponseAlreadyExistsError

from hostedagent.identity import Scope, current_scope, has_scope
from hostedagent.protocol.types import Item, Json
from hostedagent.stores.running import DIED, Running

if TYPE_CHECKING:
    from azure.ai.agentserver.responses import PlatformContext

MAX_OWNERS: Final = 4_000
"""How many response ids are remembered with their owners."""

_WHOLE: Final = -1
"""The history limit that means none."""

_RUNNING: Final = ("in_progress", "queued")

EXCLUDED: ContextVar[frozenset[str]] = ContextVar("hostedagent_excluded", default=frozenset())
"""Items that the prompt of the turn in this context must not see: failed turns left them."""


class Journaled(Protocol):
    """Knows the turns that are taken up again when their process dies."""

    async def recall(self, response_id: str, context: PlatformContext | None) -> bool:
        """Enter the scope of a turn, where no request is being served; `False` when it is not known."""
        ...

    async def goes_on(self, response_id: str) -> bool:
        """Whether the turn will end, although no process may have it now."""
        ...

    def began(self, response_id: str) -> None:
        """The turn has begun again."""
        ...

    async def discard(self, response_id: str, context: PlatformContext | None) -> None:
        """Delete what the turn has left; its response is gone."""
        ...

    async def beginning(self, response_id: str) -> None:
        """Wait while the turn is being taken up again: the SDK has it then, and does not show it yet."""
        ...


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
        running: Which of them run in the background; without it, one whose process died stays in progress.

    Attributes:
        journaled: Knows the turns that are taken up again; `None` where none is.
    """

    def __init__(
        self, provider_of: Callable[[Scope], ResponseProviderProtocol], *, running: Running | None = None
    ) -> None:
        self._provider_of = provider_of
        self._running = running
        self._in_flight: dict[str, _InFlight] = {}
        self._owners: OrderedDict[str, str] = OrderedDict()
        self._claimed: set[str] = set()
        self._refusals: dict[str, Callable[[], Awaitable[None]]] = {}
        self._growing: dict[str, Callable[[], list[Item]]] = {}
        self._resumed: dict[str, tuple[str, ...]] = {}
        self.journaled: Journaled | None = None

    @contextmanager
    def following(
        self, response_id: str, output: Callable[[], list[Item]], *, refused: Callable[[], Awaitable[None]]
    ) -> Generator[None]:
        """While this is entered, a turn makes the response.

        Args:
            response_id: Its id.
            output: What it has said so far.
            refused: Called when the first write of the response fails.
        """
        self._refusals[response_id] = refused
        self._growing[response_id] = output
        try:
            yield
        finally:
            self._refusals.pop(response_id, None)
            self._growing.pop(response_id, None)

    def output_of(self, response_id: str) -> list[Item]:
        """What a turn of this process has said so far."""
        output = self._growing.get(response_id)
        return output() if output is not None else []

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

    async def checkpoint(self, response: Mapping[str, Json], *, context: PlatformContext | None = None) -> None:
        """Store how far a response has come.

        Raises:
            Exception: The provider's.
        """
        turn = self._in_flight.get(str(response["id"]))
        if turn is not None and turn.committed is None:
            whole = {**turn.created, **{key: value for key, value in response.items() if value is not None}}
            await self._provider(turn.scope).update_response(cast("Any", whole), context=context)

    def resume(self, response_id: str, item_ids: tuple[str, ...]) -> None:
        """A response of an earlier process is gone on with; `item_ids` are the items that were stored with it."""
        self._resumed[response_id] = item_ids

    async def left_by(
        self, response_id: str, previous: str | None, *, context: PlatformContext | None = None
    ) -> tuple[str, ...]:
        """The items of a response whose turn has not ended, as far as the provider would show them to anybody."""
        provider = self._provider()
        ids = await provider.get_history_item_ids(response_id, None, _WHOLE, context=context)
        before = await provider.get_history_item_ids(previous, None, _WHOLE, context=context) if previous else []
        return tuple(item_id for item_id in ids if item_id not in set(before))

    async def owns(self, response_id: str, *, context: PlatformContext | None = None) -> bool:
        """Whether a response is there, to be seen, and belongs to the current scope."""
        is_own = await self._owns(response_id, context)
        if is_own and self.journaled is not None:
            await self.journaled.beginning(response_id)
        return is_own

    async def _owns(self, response_id: str, context: PlatformContext | None) -> bool:
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
        if (stored := self._resumed.pop(response_id, None)) is not None:
            turn.item_ids = stored
            self._own(response_id, scope)
            if self._running is not None:
                await self._running.begin(scope, response_id)
            if self.journaled is not None:
                self.journaled.began(response_id)
            raise ResponseAlreadyExistsError(f"Response '{response_id}' is gone on with.")
        try:
            async with self._marked(turn, response_id):
                await self._provider(scope).create_response(response, items, history_item_ids, context=context)
        except BaseException as error:
            refused = self._refusals.get(response_id)
            is_new = not isinstance(error, ResponseAlreadyExistsError)  # The SDK goes on with one that exists.
            if refused is not None and is_new and isinstance(error, Exception):
                await refused()  # Still in flight: what may have been stored must stay out of later prompts.
            await self._settle(response_id)
            raise
        self._own(response_id, scope)
        if response.get("status") not in _RUNNING:
            await self._settle(response_id)

    async def update_response(self, response: Any, *, context: PlatformContext | None = None) -> None:
        """Store the response anew; its last write settles it."""
        turn = self._in_flight.get(response["id"])
        try:
            if turn is None or turn.committed != response.get("status"):
                scope = turn.scope if turn is not None else current_scope()
                await self._provider(scope).update_response(response, context=context)
        finally:
            if response.get("status") not in _RUNNING:
                await self._settle(response["id"])

    async def get_response(self, response_id: str, *, context: PlatformContext | None = None) -> Any:
        """The stored response; one that was cut off by the end of its process has failed."""
        if self.journaled is not None and not has_scope() and not await self.journaled.recall(response_id, context):
            # The SDK gives up a turn of an earlier process, and cannot say whose it was. Whoever asks for it is told.
            return {"id": response_id, "status": "failed", "output": []}
        response = await self._provider().get_response(response_id, context=context)
        if self._running is None or response_id in self._in_flight or response.get("status") not in _RUNNING:
            return response
        if response.get("background"):
            if await self._running.has(current_scope(), response_id, _conversation_of(response)):
                return response
            # The end is stored before it lets go of the response, which may have been a moment ago.
            response = await self._provider().get_response(response_id, context=context)
            if response.get("status") not in _RUNNING:
                return response
            if self.journaled is not None and await self.journaled.goes_on(response_id):
                return response
        error = {"code": DIED.code, "message": DIED.message}
        return {**dict(response), "status": "failed", "error": error}

    async def delete_response(self, response_id: str, *, context: PlatformContext | None = None) -> None:
        """Delete the response."""
        await self._provider().delete_response(response_id, context=context)
        if self.journaled is not None:
            await self.journaled.discard(response_id, context)

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

    def _own(self, response_id: str, scope: Scope) -> None:
        self._owners[response_id] = sys.intern(scope.key())
        while len(self._owners) > MAX_OWNERS:
            self._owners.popitem(last=False)

    @asynccontextmanager
    async def _marked(self, turn: _InFlight, response_id: str) -> AsyncGenerator[None]:
        """Mark a response as running, if it needs that, while it is being stored."""
        if self._running is None or not turn.created.get("background") or turn.conversation is not None:
            yield
            return
        marking = asyncio.create_task(self._running.begin(turn.scope, response_id))
        try:
            yield
        finally:
            await asyncio.wait((marking,))

    async def _settle(self, response_id: str) -> None:
        turn = self._in_flight.pop(response_id, None)
        if turn is not None and self._running is not None:
            await self._running.end(turn.scope, response_id)


def _ids(items: Iterable[Any]) -> tuple[str, ...]:
    return tuple(item_id for item in items if isinstance(item_id := item.get("id"), str))


def _conversation_of(response: Mapping[str, Json]) -> str | None:
    conversation = response.get("conversation")
    return cast("Mapping[str, str]", conversation).get("id") if isinstance(conversation, Mapping) else None
