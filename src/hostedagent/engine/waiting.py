"""Queues background turns in the store while the limit is reached; any replica with a free slot takes the next.

A queued turn holds nothing: it acquires its conversation and uses its approvals when it starts, like a request that its
client sends later. Until then its response is `queued`, and its stream can be followed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hostedagent.engine.concurrency import Permit, never
from hostedagent.engine.kept_request import keep, restore
from hostedagent.engine.recorded_turn import CANCELLED, stamps_of
from hostedagent.errors import Busy, RequestError, TooManyTurns, Unavailable
from hostedagent.failures import error_object, failed
from hostedagent.identity import Caller, RequestContext, enter_context
from hostedagent.observability.logging import log_failure
from hostedagent.observability.metrics import measure_queue, measure_wait
from hostedagent.off_loop import off_loop
from hostedagent.outcomes import Failed
from hostedagent.protocol.envelope import public_event
from hostedagent.protocol.json import decode
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.sse import event_data
from hostedagent.protocol.statuses import QUEUED
from hostedagent.protocol.stream.response import ResponseBuilder
from hostedagent.protocol.transcript.storing import stored_input
from hostedagent.protocol.types import Event, Json
from hostedagent.stores.base import (
    LoggedEvent,
    Signal,
    StoreConflict,
    StoreError,
    StoreNotFound,
    StoreUnavailable,
)
from hostedagent.stores.poller import Poller
from hostedagent.stores.turn_queue import QueuedTurn, QueueLimits, TurnQueue

if TYPE_CHECKING:
    from hostedagent.engine.recorded import RecordedResponses
    from hostedagent.stores.background import BackgroundTurns

LOOK_SECONDS: Final = 0.5
"""Seconds between a replica's own checks of the queue."""

AGAIN_SECONDS: Final = 0.5
"""After how long a turn is tried again whose conversation is busy."""

_CUT_OFF: Final = "This process was cut off from the store while it queued the turn."

logger = logging.getLogger(__name__)


class WaitingRules(Struct, frozen=True):
    """The queue of a host and its limits.

    Args:
        service: Distinguishes the hosts of several agents that share stores.
    """

    queue: TurnQueue
    limits: QueueLimits
    service: str


class WaitingTurns:
    """The queued background turns."""

    def __init__(self, responses: RecordedResponses, turns: BackgroundTurns, rules: WaitingRules) -> None:
        self._responses = responses
        self._engine = responses.engine
        self._liveness = responses.engine.services.sessions.settings.liveness
        self._turns = turns
        self._rules = rules
        self._queue = rules.queue
        self._poller = Poller(self._look, seconds=LOOK_SECONDS, wanted="background turns that wait")
        self._holding, self._freeing = 0, asyncio.Lock()
        self._engine.limiter.on_ended.append(self.wake)
        self._engine.elsewhere.on_queued = self.wake
        self._engine.cancel_queued = self.cancel

    def open(self) -> None:
        """Start taking turns while there are free slots."""
        self._poller.open()

    async def aclose(self) -> None:
        """Stop taking turns."""
        await self._poller.aclose()

    def wake(self) -> None:
        """Check the queue: a turn has ended, or another one was queued."""
        self._poller.wake()

    def must_wait(self, request: TurnRequest) -> bool:
        """Whether a request is queued here rather than for a slot in this process."""
        return request.background and request.store and self._engine.limiter.is_full

    async def add(self, request: TurnRequest, body: Mapping[str, Json]) -> None:
        """Queue an accepted request; its response exists when this returns.

        Raises:
            TooManyTurns: The maximum of turns is already queued, in total or for this user.
            StoreError: A store is not available.
        """
        created_at = int(time.time())
        async with self._held():
            await self._put(request, keep(request, body, created_at=created_at))
            await self._create(request, created_at)
            await self._release(request)
        self.wake()
        with suppress(StoreError):  # Other processes poll too.
            await self._engine.elsewhere.signals.publish(Signal("queued", "", self._rules.service))

    async def _put(self, request: TurnRequest, kept: bytes) -> None:
        scope, conversation = request.caller.scope, request.conversation_id
        is_added = await self._queue.put(
            QueuedTurn(request.response_id, kept),
            user=scope.key(),
            conversation=scope.key("queue", conversation) if conversation is not None else None,
            process=await self._liveness.name(),
            limits=self._rules.limits,
        )
        if not is_added:
            says = "The queue of background turns is full. Try again later."
            raise TooManyTurns(says, self._engine.limiter.retry_after())

    async def _create(self, request: TurnRequest, created_at: int) -> None:
        """Store the response of a queued turn. If that fails, its turn leaves the queue."""
        response_id = request.response_id
        try:
            fields = {**request.echo(), "created_at": created_at, "parallel_tool_calls": True}
            await self._store(request, ResponseBuilder(response_id, fields).queued())
        except BaseException as error:
            # Its record decides: no process begins a turn whose response is forbidden.
            if await self._engine.store.forbid(request.caller, response_id):
                await self._queue.drop(response_id)
                if isinstance(error, StoreConflict):  # Another process found this one dead, and forbade it.
                    raise StoreUnavailable(_CUT_OFF) from error
                raise
            if not isinstance(error, StoreUnavailable):  # Otherwise only the answer was lost.
                raise

    async def _release(self, request: TurnRequest) -> None:
        """Let any process take a turn whose response exists."""
        is_there = True
        with suppress(StoreError):  # Otherwise the next look frees its turn.
            is_there = await self._queue.release(request.response_id)
        if not is_there and await self._waits(request.caller, request.response_id):
            # Another process found this one dead and the turn without a response.
            await self._engine.store.delete(request.caller, request.response_id)
            raise StoreUnavailable(_CUT_OFF)

    async def _store(self, request: TurnRequest, events: Sequence[Event]) -> None:
        """Store the response of a queued turn, and its first events if it is streamed."""
        caller, response_id = request.caller, request.response_id
        stamps = stamps_of(request)
        items = await off_loop(len(request.input), stored_input, request.input, response_id)
        response = {**events[-1]["response"], **stamps}
        if request.stream:  # The events first: any process may start the turn once its response exists.
            await self._engine.log.append(
                caller, response_id, [_logged(number, event, stamps) for number, event in enumerate(events)]
            )
        await self._engine.store.repository.create(caller, response, items, [])

    async def cancel(self, caller: Caller, response_id: str) -> bool:
        """Cancel a queued turn; `False` if it has started."""
        async with self._held():
            if await self._queue.take(await self._liveness.name(), response_id) is None:
                return False
            await self._engine.end(caller, response_id, CANCELLED)
            await self._queue.drop(response_id)
        return True

    @asynccontextmanager
    async def _held(self) -> AsyncGenerator[None]:
        """A turn of the queue is taken outside of a look, which must not free it."""
        async with self._freeing:
            self._holding += 1
        try:
            yield
        finally:
            self._holding -= 1

    async def _free(self, taker: str, process: str) -> bool:
        """Free the turns that a process has taken which has ended, or this one by a statement that failed."""
        if taker != process:
            # One that is suspended for long is alive, but nothing that it writes later begins the turn.
            is_free = await self._liveness.is_dead(taker) or not await self._turns.lives(taker)
            if is_free:
                await self._queue.free(taker)
            return is_free
        async with self._freeing:
            is_free = not self._holding
            if is_free:
                await self._queue.free(process)
        return is_free

    async def _look(self) -> None:
        engine, process = self._engine, await self._liveness.name()
        state = await self._queue.state()
        measure_queue(state.waiting, state.oldest)
        waiting = state.waiting
        for taker in state.takers:
            waiting += await self._free(taker, process)
        while waiting and not engine.limiter.is_full and not engine.services.shutdown.has_begun:
            permit = engine.limiter.grant()
            try:
                turn = await self._queue.take(process)
                if turn is None:
                    break
                # In a task of its own, so that the turn has its own context.
                await asyncio.create_task(self._begin(turn, permit, process), name="hostedagent-queued")
            finally:
                permit.abandon()

    async def _begin(self, turn: QueuedTurn, permit: Permit, process: str) -> None:
        """Start a turn that this process has taken, or return it to the queue."""
        is_over, beginning = False, self._responses.beginning
        beginning.add(turn.response_id)
        try:
            is_over = await self._run(turn, permit)
        except (Busy, TooManyTurns, Unavailable):  # Its conversation is busy, or this process is shutting down.
            pass
        except StoreConflict:  # Another process has begun or cancelled it, or taken it meanwhile.
            is_over = not await self._waits(Caller.load(decode(turn.request)), turn.response_id)
        except StoreError as error:
            log_failure(logger, f"The background turn {turn.response_id} cannot begin now", error)
        except Exception as error:  # noqa: BLE001 - one turn that cannot start must not block the others
            log_failure(logger, f"The background turn {turn.response_id} cannot begin", error)
            is_over = await self._give_up(turn)
        finally:
            beginning.discard(turn.response_id)
            if await self._liveness.name() != process:
                pass  # It was found dead meanwhile, and another process may have taken the turn.
            elif is_over:
                await self._queue.drop(turn.response_id)
            else:
                await self._queue.release(turn.response_id, delay=AGAIN_SECONDS)

    async def _run(self, turn: QueuedTurn, permit: Permit) -> bool:
        """Start a turn; returns whether it has left the queue."""
        engine, response_id = self._engine, turn.response_id
        kept: dict[str, Json] = decode(turn.request) if turn.request else {}
        if not kept:
            return True
        caller = Caller.load(kept)
        enter_context(RequestContext(caller))
        if not await engine.store.take_queued(caller, response_id):
            return True
        if engine.active.get(response_id) is not None:
            return False  # What an earlier try left is about to be settled.
        try:
            request = restore(kept, caller, response_id, engine.options.caller)
            context = await engine.accept(request, never, permit)
        except (Busy, TooManyTurns, Unavailable):
            raise
        except RequestError as error:
            await self._fail(turn, Failed("invalid_prompt", error.message, error.param))
            return True
        try:
            context.body, context.queued_at = kept["body"], kept["created_at"]
            enter_context(context)
            await self._responses.start_in_background(context)
        finally:
            await engine.abandon(context)
        measure_wait(turn.seconds)
        return True

    async def _fail(self, turn: QueuedTurn, failure: Failed) -> None:
        caller = Caller.load(decode(turn.request))
        if await self._waits(caller, turn.response_id):
            fields: dict[str, Json] = {"status": "failed", "error": error_object(failure)}
            await self._engine.end(caller, turn.response_id, fields)

    async def _give_up(self, turn: QueuedTurn) -> bool:
        """Fail a turn that cannot start here; `False` if only a later version can read what was kept of it."""
        try:
            await self._fail(turn, failed("server_error"))
        except (KeyError, TypeError, ValueError):
            return False
        return True

    async def _waits(self, caller: Caller, response_id: str) -> bool:
        try:
            found = await self._engine.store.repository.get(caller, response_id)
        except StoreNotFound:  # Its client never received it, unless it has just been stored.
            return not await self._engine.store.forbid(caller, response_id)
        return found.get("status") == QUEUED


def _logged(number: int, event: Event, stamps: Mapping[str, Json]) -> LoggedEvent:
    sent = public_event({**event, "response": {**event["response"], **stamps}})
    return LoggedEvent(number, event_data({**sent, "sequence_number": number}))
