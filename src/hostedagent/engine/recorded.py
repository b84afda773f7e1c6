"""Starts and resumes turns with their stored responses, for drivers without a host that does it.

A background turn runs in a task of its own, which writes its events to the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing
from contextvars import Context
from typing import TYPE_CHECKING, Final

from hostedagent.engine.context import TurnContext
from hostedagent.engine.engine import Engine
from hostedagent.engine.event_writer import EventWriter
from hostedagent.engine.recorded_turn import RecordedTurn
from hostedagent.engine.recoveries import Recoveries
from hostedagent.engine.sent_events import Sent
from hostedagent.failures import failed
from hostedagent.identity import Caller, enter_context
from hostedagent.observability.logging import log_failure
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.sse import event_data
from hostedagent.protocol.types import Json
from hostedagent.stores.base import LoggedEvent, StoreError
from hostedagent.stores.local import LocalEventLog

if TYPE_CHECKING:
    from hostedagent.engine.takeover import Takeover
    from hostedagent.engine.waiting import WaitingRules, WaitingTurns
    from hostedagent.stores.background import BackgroundTurns

REPLAY_SECONDS: Final = 600.0
"""Seconds that the events of an ended background stream can be replayed."""

logger = logging.getLogger(__name__)


class RecordedResponses:
    """Starts and resumes the turns whose responses the engine stores itself.

    Args:
        turns: Records which process runs which background turn, if they outlive their process.
        rules: The queue for background turns beyond those that may run, if there is one; it needs `turns`.

    Attributes:
        running: The responses of the background turns that run.
        beginning: Those of the turns that are being begun from the queue.
        waiting: The background turns in the queue, if there is one.
    """

    def __init__(
        self, engine: Engine, recoveries: Recoveries, turns: BackgroundTurns | None, rules: WaitingRules | None
    ) -> None:
        self.engine = engine
        self.recoveries = recoveries
        self._turns = turns
        self.running: set[str] = set()
        self.beginning: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self.waiting: WaitingTurns | None = None
        self._takeover: Takeover | None = None
        if rules is not None and turns is not None:
            from hostedagent.engine.waiting import WaitingTurns  # Few hosts have a queue.

            self.waiting = WaitingTurns(self, turns, rules)
        if turns is not None:
            from hostedagent.engine.takeover import Takeover  # Few hosts resume background turns.

            self._takeover = Takeover(self, turns)

    async def open(self) -> None:
        """Start listening to other processes, and take over the background turns of those that have ended."""
        self.engine.elsewhere.open()
        if self._takeover is not None:
            await self._takeover.open()
        if self.waiting is not None:
            self.waiting.open()

    async def start(self, context: TurnContext) -> RecordedTurn:
        """Start the turn of an accepted request."""
        return RecordedTurn(self.engine, context, self.engine.start(context, await self.recoveries.begin(context)))

    async def start_in_background(self, context: TurnContext) -> dict[str, Json]:
        """Start a turn that outlives its request, and return its response once that is stored."""
        return await self._start(await self.start(context), context)

    async def resume(self, request: TurnRequest, found: Mapping[str, Json], sent: Sent) -> None:
        """Resume a background turn of another process."""
        request, continuation, recovery = await self.recoveries.resume(request, found)
        context = self.engine.reopen(request, continuation)
        turn = RecordedTurn(self.engine, context, self.engine.start(context, recovery), sent)
        await self._start(turn, context)

    async def aclose(self) -> None:
        """Wait for the background turns, which the shutdown of the process stops in time."""
        if self.waiting is not None:
            await self.waiting.aclose()
        await self.engine.elsewhere.aclose()
        for timer in self._timers:
            timer.cancel()
        await self.ended()
        if self._takeover is not None:
            await self._takeover.aclose()

    async def _start(self, turn: RecordedTurn, context: TurnContext) -> dict[str, Json]:
        """Run a turn, and return its response once it is stored and its first event can be read.

        For a resumed turn, whose first events clients already have, it returns once the stored turn is found.

        Raises:
            StoreError: The response could not be stored.
        """
        begun: asyncio.Future[dict[str, Json]] = asyncio.get_running_loop().create_future()
        if turn.is_resumed:
            turn.on_stored = lambda: begun.set_result(turn.response)
        self._spawn(asyncio.create_task(self._run(turn, context, begun), name="hostedagent-background"))
        return await asyncio.shield(begun)

    async def ended(self) -> None:
        """Wait until no turn runs."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(self, turn: RecordedTurn, context: TurnContext, begun: asyncio.Future[dict[str, Json]]) -> None:
        request = context.request
        enter_context(context)
        self.running.add(request.response_id)
        writer, is_refused = self._writer(turn, request), False
        try:
            async with aclosing(turn.events()) as events:
                async for event in events:
                    if request.stream:
                        await writer.add(LoggedEvent(event["sequence_number"], event_data(event)))
                    if not begun.done():
                        begun.set_result(event["response"])
        except Exception as error:  # noqa: BLE001 - no caller awaits this task
            if not begun.done():
                begun.set_exception(error)
                is_refused = writer.is_closed = True  # It may be queued and start later.
            else:
                log_failure(logger, f"The background turn {request.response_id} failed", error)
        finally:
            if not begun.done():
                if turn.response:
                    begun.set_result(turn.response)
                else:
                    begun.set_exception(RuntimeError(failed("server_error").message))
            try:
                await self._end(turn, request, writer, is_refused=is_refused)
            except Exception as error:  # noqa: BLE001 - the turn itself has ended
                log_failure(logger, f"Ending the background turn {request.response_id} failed", error)
            finally:
                self.running.discard(request.response_id)

    def _writer(self, turn: RecordedTurn, request: TurnRequest) -> EventWriter:
        recovery = turn.recovery
        writer = EventWriter(
            self.engine.log,
            request.caller,
            request.response_id,
            is_batched=not isinstance(self.engine.log, LocalEventLog),
            confirm=self._turns.confirm if self._turns is not None and recovery is not None else None,
            lost=turn.lose if self._takeover is not None and recovery is not None else None,
        )
        if recovery is not None:
            recovery.tell, recovery.may_be_left = writer.flush, self._takeover is not None
        return writer

    async def _end(self, turn: RecordedTurn, request: TurnRequest, writer: EventWriter, *, is_refused: bool) -> None:
        """Close the log of a turn that has ended, and delete the data for resuming it."""
        if request.stream:
            await writer.close()
        is_left = turn.is_suspended or (is_refused and turn.is_resumed)
        if request.stream and not is_refused and not is_left:
            is_left = not await self._finished(request, writer)
        if is_left and self._takeover is not None:
            self._takeover.again(request.response_id)
        elif self._turns is not None and turn.recovery is not None:
            await self._turns.end(request.response_id)

    async def _finished(self, request: TurnRequest, writer: EventWriter) -> bool:
        """Mark the log complete; `False` if events are missing from it, which the resumed turn writes."""
        if writer.is_closed:
            return False
        try:
            await self.engine.log.finish(request.caller, request.response_id)
            # With a journal, a response is not deleted before this.
            if self._turns is None and await self.engine.store.was_deleted(request.caller, request.response_id):
                await self.engine.log.delete(request.caller, request.response_id)
        except StoreError as error:
            log_failure(logger, f"The stream of {request.response_id} could not be ended", error)
            return False
        self._forget_later(request.caller, request.response_id)
        return True

    def _forget_later(self, caller: Caller, response_id: str) -> None:
        def due() -> None:
            self._timers.discard(timer)
            deletion = self.engine.log.delete(caller, response_id)
            self._spawn(asyncio.get_running_loop().create_task(deletion))

        # In a context of its own, and without the request: the timer would keep its body that long.
        timer = asyncio.get_running_loop().call_later(REPLAY_SECONDS, due, context=Context())
        self._timers.add(timer)

    def _spawn(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
