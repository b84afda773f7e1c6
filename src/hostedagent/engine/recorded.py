"""Creates, replays and cancels responses, for drivers without a host that does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from hostedagent.engine.background import BackgroundRuns
from hostedagent.engine.context import TurnContext
from hostedagent.engine.elsewhere import Elsewhere
from hostedagent.engine.engine import Engine
from hostedagent.engine.following import following
from hostedagent.engine.partial_output import output_of
from hostedagent.engine.recorded_turn import RecordedTurn
from hostedagent.engine.recoveries import Recoveries
from hostedagent.engine.sent_events import Sent
from hostedagent.engine.takeover import Takeover
from hostedagent.errors import InvalidRequest, NotFound
from hostedagent.identity import Caller
from hostedagent.protocol.envelope import public_response
from hostedagent.protocol.ids import new_item_id
from hostedagent.protocol.json import decode
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.sse import event_data
from hostedagent.protocol.statuses import QUEUED, RUNNING
from hostedagent.protocol.types import Item, Json
from hostedagent.stores.background import BackgroundTurns
from hostedagent.stores.base import EventLog, LoggedEvent, Signals, StoreNotFound

if TYPE_CHECKING:
    from hostedagent.engine.waiting import WaitingRules, WaitingTurns

CANCEL_SECONDS: Final = 10.0
"""Seconds that a cancel waits for the turn to end."""


class RecordedResponses:
    """Creates, replays and cancels responses that the engine stores itself.

    Args:
        turns: Records which process runs which background turn, if they outlive their process.
        rules: The queue for background turns beyond those that may run, if there is one.
    """

    def __init__(
        self,
        engine: Engine,
        recoveries: Recoveries,
        log: EventLog,
        turns: BackgroundTurns | None,
        signals: Signals,
        rules: WaitingRules | None,
    ) -> None:
        self.engine = engine
        self.recoveries = recoveries
        self.log = log
        self._runs = BackgroundRuns(log, turns)
        self.waiting: WaitingTurns | None = None
        if rules is not None:
            from hostedagent.engine.waiting import WaitingTurns  # Few hosts have a queue.

            self.waiting = WaitingTurns(self, rules)
        self.elsewhere = Elsewhere(signals, engine.active, self.waiting.wake if self.waiting is not None else None)
        self._takeover = Takeover(self, turns) if turns is not None else None
        self._runs.on_left = self._takeover.again if self._takeover is not None else None

    async def open(self) -> None:
        """Start listening to other processes, and take over the background turns of those that have ended."""
        self.elsewhere.open()
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
        """Start a turn that outlives its request, and return its response once that is stored."""
        return await self._runs.start(await self.start(context), context)

    async def resume(self, request: TurnRequest, found: Mapping[str, Json], sent: Sent) -> None:
        """Resume a background turn of another process."""
        context, recovery = await self.engine.resume(request, found, self.recoveries)
        turn = RecordedTurn(self, context, await self.engine.start(context, recovery), sent)
        await self._runs.start(turn, context)

    async def end(self, caller: Caller, response_id: str, fields: Mapping[str, Json]) -> None:
        """End a background response that no process runs, and inform its readers."""
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
                if not await self._has_ended(caller, response_id):  # Elsewhere, or left here and about to be resumed.
                    await self.elsewhere.cancel(caller, response_id, partial(self._has_ended, caller, response_id))
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
        await self.elsewhere.aclose()
        await self._runs.aclose()
        if self._takeover is not None:
            await self._takeover.aclose()
