"""One turn with its stored response, for drivers without a host that stores it.

It stores the response before the first event is sent, numbers the events, and stores the outcome of a turn that the
client stopped, which has no terminal event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Final

from hostedagent.engine.context import TurnContext
from hostedagent.engine.engine import Engine
from hostedagent.engine.recovery import Recovery
from hostedagent.engine.sent_events import Sent
from hostedagent.engine.turn import Turn
from hostedagent.observability.logging import log_failure
from hostedagent.off_loop import off_loop
from hostedagent.protocol.envelope import public_event, public_response
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.statuses import RUNNING
from hostedagent.protocol.transcript.storing import stored_input
from hostedagent.protocol.types import Event, Json
from hostedagent.stores.base import StoreConflict, StoreUnavailable

QUEUED_EVENTS: Final = 2
"""Number of events of a queued stream before its turn starts."""

CANCELLED: Final[Mapping[str, Json]] = {"status": "cancelled", "output": [], "error": None, "completed_at": None}
"""The fields of a response that was cancelled."""

logger = logging.getLogger(__name__)


def stamps_of(request: TurnRequest) -> dict[str, Json]:
    """The fields with which the host completes a response."""
    session = request.sandbox_session_id
    return {"store": request.store, **({"agent_session_id": session} if session is not None else {})}


class RecordedTurn:
    """One turn with its stored response.

    Args:
        sent: The events that an earlier process sent; `None` for a new turn.
    """

    def __init__(self, engine: Engine, context: TurnContext, turn: Turn, sent: Sent | None = None) -> None:
        self._engine = engine
        self._context = context
        self._turn = turn
        self._sent = sent
        were_queued = context.queued_at is not None and context.request.stream
        self._number = sent.last if sent is not None else (QUEUED_EVENTS if were_queued else 0) - 1
        self._is_left = False
        self._stamps = stamps_of(context.request)
        self.on_stored: Callable[[], None] | None = None
        """Called when the response is stored, or found stored by a turn that is resumed."""
        self.response: dict[str, Json] = {}
        """The response in the last event that carried one."""

    def disconnect(self) -> None:
        """End a foreground turn whose client has disconnected."""
        self._turn.stop("client")

    @property
    def is_resumed(self) -> bool:
        """Whether another process started the turn."""
        return self._sent is not None

    @property
    def is_suspended(self) -> bool:
        """Whether the turn was left, for another process or to be resumed later."""
        return self._turn.is_suspended or self._is_left

    def lose(self) -> None:
        """Stop the turn: another process writes its events, or they cannot be written."""
        self._turn.stop("lost")

    @property
    def recovery(self) -> Recovery | None:
        """The progress of the turn, if it outlives its process."""
        return self._turn.recovery

    def events(self) -> AsyncGenerator[Event]:
        """The numbered events, to be read once to the end. The response is stored before the first one.

        For a resumed turn, these are the events after those that were sent.

        Raises:
            StoreError: The response could not be stored; nothing was sent.
        """
        return self._recorded(is_numbered=True)

    async def result(self) -> dict[str, Json]:
        """Run the turn to its end and return its response. It is stored as with `events`, which must not be read then.

        Raises:
            StoreError: The response could not be stored; nothing was run.
        """
        async with aclosing(self._recorded(is_numbered=False)) as events:
            async for _ in events:
                pass
        return public_response({**self.response, **self._stamps})

    def _was_sent(self, event: Event) -> bool:
        """Whether the event was sent before the turn started here: only the first events are repeated."""
        has_ended = self._sent is not None and self._sent.has_ended
        return has_ended or (self._number >= 0 and event["type"] == "response.created")

    async def _recorded(self, *, is_numbered: bool) -> AsyncGenerator[Event]:
        """Yield the events if they are numbered; otherwise run the turn to its end and yield nothing."""
        is_stored = False
        try:
            async with aclosing(self._turn.events()) as events:
                async for event in events:
                    if not is_stored:
                        await self._store(event["response"])
                        is_stored = True
                        if self.on_stored is not None:
                            self.on_stored()
                    self.response = event.get("response") or self.response
                    if is_numbered and not self._was_sent(event):
                        yield self._numbered(event)
            if self.response.get("status") in RUNNING and not self.is_suspended:
                self.response, is_stored = self._cancelled(), False
                await self._settle()
                event = {"type": "response.failed", "response": self.response}
                if is_numbered and not self.is_suspended and not self._was_sent(event):
                    yield self._numbered(event)
        finally:
            if is_stored:
                await self._settle()

    def _numbered(self, event: Event) -> Event:
        self._number += 1
        if (response := event.get("response")) is not None:
            event = {**event, "response": {**response, **self._stamps}}
        return {**public_event(event), "sequence_number": self._number}

    def _cancelled(self) -> dict[str, Json]:
        return {**self._turn.response, **CANCELLED}

    async def _store(self, response: Mapping[str, Json]) -> None:
        request = self._context.request
        if request.store:
            items = await off_loop(len(request.input), stored_input, request.input, request.response_id)
            history = list(self._context.continuation.history_ids)
            lease = self._context.continuation.lease
            if lease is not None and lease.head.response_id is None:
                conversations = self._engine.services.sessions.conversations
                await conversations.begin(request.caller, lease.conversation_id)
            store = self._engine.store
            try:
                await store.create(request.caller, {**response, **self._stamps}, items, history)
            except StoreConflict as error:
                if self._sent is not None:
                    return  # A resumed response already exists.
                if self.recovery is not None and await self.recovery.is_elsewhere():
                    says = "This process was cut off from the store while it began the turn."
                    raise StoreUnavailable(says) from error
                raise

    async def _settle(self) -> None:
        """Store the outcome, unless the turn itself has stored it, and release the response."""
        request, store = self._context.request, self._engine.store
        if not request.store:
            return
        if self.is_suspended:
            await store.leave(request.response_id)
            return
        response = self.response if self.response.get("status") not in RUNNING else self._cancelled()
        try:
            if not store.settle_committed(response):
                await asyncio.shield(store.update(request.caller, response))
        except Exception as error:  # noqa: BLE001 - the turn itself has ended, and its client must learn how
            log_failure(logger, f"Storing the end of {request.response_id} failed", error)
            self._is_left = self.recovery is not None and self.recovery.may_be_left
