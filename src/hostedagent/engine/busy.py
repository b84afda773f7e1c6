"""Handles requests whose conversation has a running turn: they are refused, wait, or end that turn first."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct, field

from hostedagent.conversation.continuation import Continuation, Continuations
from hostedagent.engine.active import ActiveTurn, ActiveTurns
from hostedagent.engine.concurrency import never
from hostedagent.errors import Busy, InvalidRequest, TooManyTurns
from hostedagent.options import WhenBusy
from hostedagent.protocol.request.turn_request import TurnRequest

MAX_QUEUED: Final = 16
"""Requests that wait for one conversation; one more gets 429."""

LOOK_SECONDS: Final = 0.25
"""Seconds between checks of a conversation of another process, if no signal reports its end."""


class BusyConversations(Struct, frozen=True):
    """Opens continuations, and queues requests per conversation.

    Concurrency: requests of a conversation are served in the order in which this process received them.

    Args:
        check: Refuses new turns during shutdown.
    """

    when_busy: WhenBusy
    continuations: Continuations
    active: ActiveTurns
    check: Callable[[], None]
    _lines: dict[str, deque[asyncio.Event]] = field(default_factory=dict[str, deque[asyncio.Event]])

    async def open(self, request: TurnRequest, left: Callable[[], Awaitable[object]]) -> Continuation:
        """Open the continuation of a turn, after waiting for its conversation if necessary.

        Args:
            left: Returns when the caller has disconnected, which ends the wait.

        Raises:
            Busy: The conversation has a running turn, and requests do not wait.
            TooManyTurns: The maximum of requests already waits for it.
            RequestError: The request is refused.
        """
        conversation = request.previous_response_id or (request.conversation_id if request.store else None)
        if self.when_busy == "reject" or conversation is None:
            return await self.continuations.open(request)
        place = request.scope.key("busy", conversation)
        if place not in self._lines:
            try:
                return await self.continuations.open(request)
            except Busy:
                pass
        line = self._lines.setdefault(place, deque())
        if len(line) >= MAX_QUEUED:
            raise TooManyTurns("Too many requests wait for this conversation. Try again later.", 1)
        line.append(own := asyncio.Event())  # Set when the request is first.
        gone = asyncio.ensure_future(left())
        try:
            if line[0] is not own:
                await self._first_of(own.wait(), gone, None)
            return await self._when_free(request, gone)
        finally:
            gone.cancel()
            line.remove(own)
            if line:
                line[0].set()
            else:
                del self._lines[place]

    async def open_now(self, request: TurnRequest) -> Continuation:
        """Open the continuation of a turn that is tried again later, after telling the running turn that it waits.

        Raises:
            Busy: The conversation has a running turn.
            RequestError: The request is refused.
        """
        try:
            return await self.continuations.open(request)
        except Busy:
            self._end_of_running(request)
            raise

    async def _when_free(self, request: TurnRequest, gone: asyncio.Future[object]) -> Continuation:
        while True:
            self.check()
            try:
                return await self.continuations.open(request)
            except Busy:
                await self._first_of(self._end_of_running(request)(), gone, LOOK_SECONDS)

    def _end_of_running(self, request: TurnRequest) -> Callable[[], Awaitable[object]]:
        """Interrupt or steer the running turn if the options say so; returns how to wait for its end here."""
        previous = self.active.get(request.previous_response_id)
        if previous is not None and previous.caller.scope == request.scope:
            self._disturb(previous)
            return previous.ended.wait
        conversation = request.conversation_id
        holder = self.continuations.sessions.holder(request.caller, conversation) if conversation is not None else None
        if holder is None:
            return never
        if (turn := self.active.holding(holder)) is not None:
            self._disturb(turn)
        return holder.until_over

    def _disturb(self, turn: ActiveTurn) -> None:
        if self.when_busy == "interrupt" and turn.stop is not None:
            turn.stop.stop("steered")
        elif self.when_busy == "steer" and turn.context is not None:
            turn.context.is_steered = True

    async def _first_of(self, event: Awaitable[object], gone: asyncio.Future[object], seconds: float | None) -> None:
        """Wait for an event.

        Raises:
            InvalidRequest: The caller has disconnected; no client receives this error.
        """
        waiting = asyncio.ensure_future(event)
        try:
            await asyncio.wait({waiting, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if gone.done():
            raise InvalidRequest("The caller left before its turn could begin.")
