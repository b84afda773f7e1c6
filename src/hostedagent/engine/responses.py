"""The response store of a host: the repository, with the promises that running turns and conversations need.

It stores how a turn ended before the caller learns of it, so that the next turn reads it, answers for responses whose
process died, and refuses to continue a response that is still running.
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, Protocol, cast

from hostedagent.errors import InvalidRequest
from hostedagent.identity import Caller
from hostedagent.protocol.types import Item, Json
from hostedagent.stores.base import ResponseRepository, StoreConflict, StoreNotFound
from hostedagent.stores.running import DIED, Running

MAX_OWNERS: Final = 4_000
"""How many response ids are remembered with their owners."""

_RUNNING: Final = ("in_progress", "queued")


class Journaled(Protocol):
    """Knows the turns that are resumed when their process dies."""

    async def goes_on(self, response_id: str) -> bool:
        """Whether the turn will end, although no process may have it now."""
        ...

    def began(self, response_id: str) -> None:
        """The turn has begun again."""
        ...

    async def discard(self, caller: Caller, response_id: str) -> None:
        """Delete the events of a turn whose response was deleted."""
        ...

    async def beginning(self, response_id: str) -> None:
        """Wait while the turn is being resumed: the SDK has it then, and does not show it yet."""
        ...


@dataclass(slots=True)
class _InFlight:
    """A response between its first write and its last."""

    caller: Caller
    conversation: str | None
    created: Mapping[str, Json]
    item_ids: tuple[str, ...] = ()
    committed: str | None = None


class ResponseStore:
    """A `ResponseRepository` that knows which responses are running.

    Args:
        repository: Where the responses are.
        running: Which of them run in the background; without it, one whose process died stays in progress.

    Attributes:
        journaled: Knows the turns that are resumed after a crash; `None` where none is.
    """

    def __init__(self, repository: ResponseRepository, *, running: Running | None = None) -> None:
        self._repository = repository
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

    async def commit(self, response: Mapping[str, Json]) -> None:
        """Store how a response ended before anybody learns of it. The SDK writes the same later, which is skipped.

        Raises:
            StoreError: It could not be stored.
        """
        turn = self._in_flight.get(str(response["id"]))
        if turn is None:
            return  # Not stored, or its first write failed and the SDK reports that.
        await self._repository.update(turn.caller, _whole(turn, response))
        turn.committed = str(response["status"])

    async def checkpoint(self, response: Mapping[str, Json]) -> None:
        """Store how far a response has come.

        Raises:
            StoreError: It could not be stored.
        """
        turn = self._in_flight.get(str(response["id"]))
        if turn is not None and turn.committed is None:
            await self._repository.update(turn.caller, _whole(turn, response))

    def resume(self, response_id: str, item_ids: tuple[str, ...]) -> None:
        """A response of an earlier process continues; `item_ids` are the input items that were stored with it."""
        self._resumed[response_id] = item_ids

    async def owns(self, caller: Caller, response_id: str) -> bool:
        """Whether a response exists, is visible, and belongs to the caller's scope."""
        is_own = await self._owns(caller, response_id)
        if is_own and self.journaled is not None:
            await self.journaled.beginning(response_id)
        return is_own

    async def _owns(self, caller: Caller, response_id: str) -> bool:
        owner = self._owners.get(response_id)
        if owner is not None:
            return owner == caller.scope.key()
        try:
            await self._repository.get(caller, response_id)
        except StoreNotFound:
            return False
        return True

    def claim(self, response_id: str) -> bool:
        """Take an id that the platform chose, until `release_claim`; `False` when it is or was in use."""
        if response_id in self._owners or response_id in self._claimed:
            return False
        self._claimed.add(response_id)
        return True

    def release_claim(self, response_id: str) -> None:
        """Release an id: its response exists now, or never will."""
        self._claimed.discard(response_id)

    async def create(
        self,
        caller: Caller,
        response: Mapping[str, Json],
        input_items: Iterable[Item],
        history_ids: Sequence[str] | None = None,
    ) -> None:
        """Store a new response and its input."""
        response_id = str(response["id"])
        items = list(input_items)
        turn = _InFlight(caller, _conversation_of(response), dict(response), _ids(items))
        self._in_flight[response_id] = turn
        if (stored := self._resumed.pop(response_id, None)) is not None:
            turn.item_ids = stored
            self._own(response_id, caller)
            if self._running is not None:
                await self._running.begin(caller.scope, response_id)
            if self.journaled is not None:
                self.journaled.began(response_id)
            raise StoreConflict(f"Response '{response_id}' continues from an earlier process.")
        try:
            async with self._marked(turn, response_id):
                await self._repository.create(caller, response, items, history_ids)
        except BaseException as error:
            refused = self._refusals.get(response_id)
            is_new = not isinstance(error, StoreConflict)  # The SDK continues one that exists.
            if refused is not None and is_new and isinstance(error, Exception):
                await refused()  # Still in flight: what may have been stored must stay out of later prompts.
            await self._settle(response_id)
            raise
        self._own(response_id, caller)
        if response.get("status") not in _RUNNING:
            await self._settle(response_id)

    async def update(self, caller: Caller, response: Mapping[str, Json]) -> None:
        """Store the response anew; its last write settles it."""
        turn = self._in_flight.get(response["id"])
        try:
            if turn is None or turn.committed != response.get("status"):
                await self._repository.update(turn.caller if turn is not None else caller, response)
        finally:
            if response.get("status") not in _RUNNING:
                await self._settle(response["id"])

    async def get(self, caller: Caller, response_id: str) -> dict[str, Json]:
        """The stored response; one that was cut off by the end of its process has failed."""
        response = await self._repository.get(caller, response_id)
        if self._running is None or response_id in self._in_flight or response.get("status") not in _RUNNING:
            return response
        if response.get("background"):
            if await self._running.has(caller.scope, response_id, _conversation_of(response)):
                return response
            # The end is stored before the mark is removed, which may have happened a moment ago.
            response = await self._repository.get(caller, response_id)
            if response.get("status") not in _RUNNING:
                return response
            if self.journaled is not None and await self.journaled.goes_on(response_id):
                return response
        error = {"code": DIED.code, "message": DIED.message}
        return {**dict(response), "status": "failed", "error": error}

    async def delete(self, caller: Caller, response_id: str) -> None:
        """Delete the response."""
        await self._repository.delete(caller, response_id)
        if self.journaled is not None:
            await self.journaled.discard(caller, response_id)

    async def input_items(
        self,
        caller: Caller,
        response_id: str,
        *,
        limit: int = 20,
        ascending: bool = False,
        after: str | None = None,
        before: str | None = None,
    ) -> list[Item]:
        """A page of the input items of a response."""
        return await self._repository.input_items(
            caller, response_id, limit=limit, ascending=ascending, after=after, before=before
        )

    async def items(self, caller: Caller, ids: Sequence[str]) -> list[Item | None]:
        """Items by id, `None` for each that does not exist."""
        return await self._repository.items(caller, ids)

    def check_has_ended(self, caller: Caller, previous_response_id: str | None) -> None:
        """Refuse to continue a response that is still running.

        Raises:
            InvalidRequest: It is.
        """
        running = self._in_flight.get(previous_response_id or "")
        if running is not None and running.committed is None and running.caller.scope == caller.scope:
            raise InvalidRequest(
                f"Response with id '{previous_response_id}' is still running.", param="previous_response_id"
            )

    async def history_ids(
        self, caller: Caller, previous_response_id: str | None, conversation_id: str | None, limit: int
    ) -> list[str]:
        """The ids of the conversation's items, oldest first."""
        return await self._repository.history_ids(caller, previous_response_id, conversation_id, limit)

    def _own(self, response_id: str, caller: Caller) -> None:
        self._owners[response_id] = sys.intern(caller.scope.key())
        while len(self._owners) > MAX_OWNERS:
            self._owners.popitem(last=False)

    @asynccontextmanager
    async def _marked(self, turn: _InFlight, response_id: str) -> AsyncGenerator[None]:
        """Mark a response as running, if it needs that, while it is being stored."""
        if self._running is None or not turn.created.get("background") or turn.conversation is not None:
            yield
            return
        marking = asyncio.create_task(self._running.begin(turn.caller.scope, response_id))
        try:
            yield
        finally:
            await asyncio.wait((marking,))

    async def _settle(self, response_id: str) -> None:
        turn = self._in_flight.pop(response_id, None)
        if turn is not None and self._running is not None:
            await self._running.end(turn.caller.scope, response_id)


def _whole(turn: _InFlight, response: Mapping[str, Json]) -> dict[str, Json]:
    return {**turn.created, **{key: value for key, value in response.items() if value is not None}}


def _ids(items: Iterable[Item]) -> tuple[str, ...]:
    return tuple(item_id for item in items if isinstance(item_id := item.get("id"), str))


def _conversation_of(response: Mapping[str, Json]) -> str | None:
    conversation = response.get("conversation")
    return cast("Mapping[str, str]", conversation).get("id") if isinstance(conversation, Mapping) else None
