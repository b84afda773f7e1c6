"""Runs turns and stores their responses, for drivers without a host that does it.

It stores the response before the first event is sent, numbers the events, keeps those of background streams for replay,
and stores the outcome of a turn that the client stopped, which has no terminal event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from hostedagent.engine.background import BackgroundRuns
from hostedagent.engine.context import TurnContext
from hostedagent.engine.elsewhere import Elsewhere
from hostedagent.engine.engine import Engine
from hostedagent.engine.following import following
from hostedagent.engine.partial_output import output_of
from hostedagent.engine.recoveries import Recoveries
from hostedagent.engine.recovery import Recovery
from hostedagent.engine.sent_events import Sent
from hostedagent.engine.takeover import Takeover
from hostedagent.engine.turn import Turn
from hostedagent.errors import InvalidRequest, NotFound
from hostedagent.identity import Caller
from hostedagent.observability.logging import log_failure
from hostedagent.off_loop import off_loop
from hostedagent.options import CallerPolicy
from hostedagent.protocol.envelope import public_event, public_response
from hostedagent.protocol.ids import new_item_id
from hostedagent.protocol.json import decode
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.sse import event_data
from hostedagent.protocol.statuses import QUEUED, RUNNING
from hostedagent.protocol.transcript.storing import stored_input
from hostedagent.protocol.types import Event, Item, Json
from hostedagent.stores.background import BackgroundTurns
from hostedagent.stores.base import EventLog, LoggedEvent, Signals, StoreConflict, StoreError, StoreNotFound

if TYPE_CHECKING:
    from hostedagent.engine.waiting import WaitingRules, WaitingTurns

CANCEL_SECONDS: Final = 10.0
"""Seconds that a cancel waits for the turn to end."""

QUEUED_EVENTS: Final = 2
"""Number of events of a queued stream before its turn starts."""

logger = logging.getLogger(__name__)


class RecordedTurn:
    """One turn with its stored response.

    Args:
        responses: Stores the response.
        context: The accepted request.
        turn: The turn.
        sent: The events that an earlier process sent; `None` for a new turn.
    """

    def __init__(
        self, responses: RecordedResponses, context: TurnContext, turn: Turn, sent: Sent | None = None
    ) -> None:
        self._responses = responses
        self._context = context
        self._turn = turn
        self._sent = sent
        were_queued = context.queued_at is not None and context.request.stream
        self._number = sent.last if sent is not None else (QUEUED_EVENTS if were_queued else 0) - 1
        self._is_left = False
        self._stamps: dict[str, Json] = {"store": context.request.store}
        if context.request.sandbox_session_id is not None:
            self._stamps["agent_session_id"] = context.request.sandbox_session_id
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
        return {**self._turn.response, "status": "cancelled", "output": [], "error": None, "completed_at": None}

    async def _store(self, response: Mapping[str, Json]) -> None:
        request = self._context.request
        if request.store:
            items = await off_loop(len(request.input), stored_input, request.input, request.response_id)
            history = list(self._context.continuation.history_ids)
            lease = self._context.continuation.lease
            if lease is not None and lease.head.response_id is None:
                conversations = self._responses.engine.services.sessions.conversations
                await conversations.begin(request.caller, lease.conversation_id)
            store = self._responses.engine.store
            try:
                await store.create(request.caller, {**response, **self._stamps}, items, history)
            except StoreConflict:
                if self._sent is None:  # A resumed response already exists.
                    raise

    async def _settle(self) -> None:
        """Store the outcome, unless the turn itself has stored it, and release the response."""
        request, store = self._context.request, self._responses.engine.store
        if not request.store:
            return
        if self.is_suspended:
            await store.leave(request.response_id)
            return
        response = self.response if self.response.get("status") not in RUNNING else self._cancelled()
        try:
            if not store.settle_committed(response):
                await asyncio.shield(store.update(request.caller, response))
        except StoreError as error:
            log_failure(logger, f"Storing the end of {request.response_id} failed", error)
            self._is_left = self.recovery is not None and self.recovery.may_be_left


class RecordedResponses:
    """Creates, replays and cancels responses that the engine stores itself.

    Args:
        engine: Runs the turns.
        recoveries: Journals the background turns and resumes them.
        log: Keeps the events of background streams.
        turns: Records which process runs which background turn, if they outlive their process.
        policy: The fields that callers may set.
        signals: Messages between the processes that share the stores.
        rules: The queue for background turns beyond those that may run, if there is one.
    """

    def __init__(
        self,
        engine: Engine,
        recoveries: Recoveries,
        log: EventLog,
        turns: BackgroundTurns | None = None,
        policy: CallerPolicy | None = None,
        signals: Signals | None = None,
        rules: WaitingRules | None = None,
    ) -> None:
        self.engine = engine
        self.recoveries = recoveries
        self.policy = policy or CallerPolicy()
        self.log = log
        self._runs = BackgroundRuns(log, turns)
        self.waiting: WaitingTurns | None = None
        if rules is not None:
            from hostedagent.engine.waiting import WaitingTurns  # Few hosts have a queue.

            self.waiting = WaitingTurns(self, rules)
        on_queued = self.waiting.wake if self.waiting is not None else None
        self.elsewhere = self._elsewhere = Elsewhere(signals, engine.active, on_queued) if signals is not None else None
        self._takeover = Takeover(self, turns) if turns is not None else None
        self._runs.on_left = self._takeover.again if self._takeover is not None else None

    async def open(self) -> None:
        """Start listening to other processes, and take over the background turns of those that have ended."""
        if self._elsewhere is not None:
            self._elsewhere.open()
        if self._takeover is not None:
            await self._takeover.open()
        if self.waiting is not None:
            self.waiting.open()

    def identify(
        self,
        request: TurnRequest,
        *,
        response_id: str = "",
        session_id: str | None = None,
        client_headers: Mapping[str, str] | None = None,
    ) -> TurnRequest:
        """The request with the id of its response.

        Args:
            request: The request.
            response_id: The id that the platform chose, if it did.
            session_id: The platform's sandbox session.
            client_headers: The request's `x-client-*` headers, if they are known.
        """
        hint = request.previous_response_id or request.conversation_id or ""
        return request.named(response_id or new_item_id("caresp", hint), session_id, client_headers)

    async def start(self, context: TurnContext) -> RecordedTurn:
        """Start the turn of an accepted request."""
        return RecordedTurn(self, context, await self.engine.start(context, recoveries=self.recoveries))

    async def start_in_background(self, context: TurnContext) -> dict[str, Json]:
        """Start a turn that outlives its request, and return its response once that is stored.

        Raises:
            StoreError: It could not be stored.
        """
        return await self._runs.start(await self.start(context), context)

    async def resume(self, request: TurnRequest, found: Mapping[str, Json], sent: Sent) -> None:
        """Resume a background turn of another process.

        Args:
            request: The original request.
            found: The stored response.
            sent: The events that were sent.

        Raises:
            StoreError: A store is not available.
        """
        context, recovery = await self.engine.resume(request, found, self.recoveries)
        turn = RecordedTurn(self, context, await self.engine.start(context, recovery), sent)
        await self._runs.start(turn, context)

    async def end(self, caller: Caller, response_id: str, fields: Mapping[str, Json]) -> None:
        """End a background response that no process runs, and inform its readers.

        Args:
            caller: The owner of the response.
            response_id: The response.
            fields: The final fields of the response.

        Raises:
            StoreError: A store is not available.
        """
        found = await self.engine.store.get(caller, response_id)
        response = {**found, **fields}
        await self.engine.store.update(caller, response)
        try:
            events = await self.log.read(caller, response_id)
        except StoreNotFound:
            return
        number = events[-1].number + 1 if events else 0
        event = {"type": "response.failed", "response": public_response(response), "sequence_number": number}
        await self.log.append(caller, response_id, [LoggedEvent(number, event_data(event))])
        await self.log.finish(caller, response_id)

    async def replay(self, caller: Caller, response_id: str, *, after: int = -1) -> AsyncIterator[list[LoggedEvent]]:
        """The events of a background stream after a number: the existing ones, then the new ones.

        Raises:
            NotFound: The response does not exist, or belongs to another scope.
            InvalidRequest: It was not created as a background stream, or its events have expired.
        """
        response = await self.engine.retrieve(caller, response_id)
        try:
            await self.log.read(caller, response_id)
        except StoreNotFound:
            wanted = "stream=true" if response.get("background") else "background=true"
            says = f"This response cannot be streamed because it was not created with {wanted}."
            raise InvalidRequest(says, param="stream") from None
        batches = self.log.subscribe(caller, response_id, after=after)
        return following(batches, self.engine.store, caller, response_id, after=after)

    async def retrieve(self, caller: Caller, response_id: str) -> dict[str, Json]:
        """A response, with its output so far, in whichever process it runs.

        Raises:
            NotFound: It does not exist, or belongs to another scope.
        """
        response = await self.engine.retrieve(caller, response_id)
        if response.get("status") == "in_progress" and self.engine.active.get(response_id) is None:
            response["output"] = await self._output_elsewhere(caller, response_id, response.get("output") or [])
        return public_response(response)

    async def _output_elsewhere(self, caller: Caller, response_id: str, stored: list[Item]) -> list[Item]:
        """The output so far of a turn in another process, from its events or as stored."""
        try:
            events = [decode(row.data) for row in await self.log.read(caller, response_id)]
        except StoreNotFound:  # It has no events without `stream`.
            return stored
        output = output_of(events)
        return output if len(output) >= len(stored) else stored

    async def _has_ended(self, caller: Caller, response_id: str) -> bool:
        return (await self.engine.store.get(caller, response_id)).get("status") not in RUNNING

    async def cancel(self, caller: Caller, response_id: str) -> dict[str, Json]:
        """Cancel a background turn, and return its response once the turn has ended.

        Raises:
            NotFound: It does not exist, belongs to another scope, or runs in the foreground.
            InvalidRequest: It ran in the foreground, or has ended.
        """
        response = await self.retrieve(caller, response_id)
        if not response.get("background"):
            if response.get("status") in RUNNING:  # Its client disconnects instead. As on the SDK's host.
                raise NotFound(f"Response with id '{response_id}' not found.", param="response_id")
            raise InvalidRequest("Cannot cancel a synchronous response.", param="response_id")
        status = response.get("status")
        if status == "cancelled":
            return response
        if status not in RUNNING:
            kind = f"a {status} response" if status != "incomplete" else "a response in terminal state"
            raise InvalidRequest(f"Cannot cancel {kind}.", param="response_id")
        if status == QUEUED and self.waiting is not None and await self.waiting.cancel(caller, response_id):
            return await self.retrieve(caller, response_id)
        active = self.engine.active.get(response_id)
        with suppress(TimeoutError):  # Then it is still in progress, and says so.
            async with asyncio.timeout(CANCEL_SECONDS):
                if active is not None and active.stop is not None:
                    active.stop.stop("client")
                    await active.ended.wait()
                if self._elsewhere is not None and not await self._has_ended(caller, response_id):
                    # Elsewhere, or left here and about to be resumed.
                    await self._elsewhere.cancel(caller, response_id, partial(self._has_ended, caller, response_id))
        return await self.retrieve(caller, response_id)

    async def delete(self, caller: Caller, response_id: str) -> None:
        """Delete a response, its events and everything that belongs to it.

        Raises:
            NotFound: It does not exist, or belongs to another scope.
            InvalidRequest: It is still running.
        """
        response = await self.retrieve(caller, response_id)
        if response.get("status") in RUNNING:
            raise InvalidRequest("Cannot delete an in-flight response.", param="response_id")
        await self.engine.delete(caller, response_id)
        await self.log.delete(caller, response_id)

    async def suspended(self) -> None:
        """Wait until no background turn runs here."""
        await self._runs.ended()

    async def aclose(self) -> None:
        """Wait for the background turns, which the shutdown of the process stops in time."""
        if self.waiting is not None:
            await self.waiting.aclose()
        if self._elsewhere is not None:
            await self._elsewhere.aclose()
        await self._runs.aclose()
        if self._takeover is not None:
            await self._takeover.aclose()
