"""What a request does whose conversation has a turn already: it is refused, waits, or has that turn end first."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from hostedagent.conversation.continuation import Continuation, Continuations
from hostedagent.engine.active import ActiveTurn, ActiveTurns
from hostedagent.errors import Busy, InvalidRequest, TooManyTurns
from hostedagent.identity import Caller
from hostedagent.options import WhenBusy
from hostedagent.protocol.request.turn_request import TurnRequest

MAX_QUEUED: Final = 16
"""Requests that wait for one conversation; one more gets 429."""

LOOK_SECONDS: Final = 0.25
"""How often it is looked again, where another process has the conversation and nothing tells of its end."""


class Place(asyncio.Event):
    """The place of a request in the line of a conversation; set when it is the first."""


class BusyConversations:
    """Opens continuations, and knows who waits for which conversation.

    Concurrency: requests of a conversation are served in the order in which they came to this process.

    Args:
        when_busy: What a request does whose conversation is busy.
        continuations: Opens what turns continue.
        active: The turns that run here.
        check: Refuses what comes while the process ends.
    """

    def __init__(
        self, when_busy: WhenBusy, continuations: Continuations, active: ActiveTurns, check: Callable[[], None]
    ) -> None:
        self._when_busy = when_busy
        self._continuations = continuations
        self._active = active
        self._check = check
        self._lines: dict[str, deque[Place]] = {}

    async def open(self, request: TurnRequest, caller: Caller, left: Callable[[], Awaitable[object]]) -> Continuation:
        """Find out what a turn continues, and take what it needs.

        Args:
            request: The request.
            caller: Whose it is.
            left: Returns when the caller has left, so that the request waits no longer.

        Raises:
            Busy: The conversation has a turn, and requests do not wait.
            TooManyTurns: As many requests wait for it as may.
            RequestError: The request is refused.
        """
        conversation = request.previous_response_id or (request.conversation_id if request.store else None)
        if self._when_busy == "reject" or conversation is None:
            return await self._continuations.open(request, caller)
        place = caller.scope.key("busy", conversation)
        if place not in self._lines:
            try:
                return await self._continuations.open(request, caller)
            except Busy:
                pass
        line = self._lines.setdefault(place, deque())
        if len(line) >= MAX_QUEUED:
            raise TooManyTurns("Too many requests wait for this conversation. Try again later.", 1)
        line.append(own := Place())
        gone = asyncio.ensure_future(left())
        try:
            if line[0] is not own:
                await self._first_of(own.wait(), gone, None)
            return await self._when_free(request, caller, gone)
        finally:
            gone.cancel()
            line.remove(own)
            if line:
                line[0].set()
            else:
                del self._lines[place]

    async def _when_free(self, request: TurnRequest, caller: Caller, gone: asyncio.Future[object]) -> Continuation:
        while True:
            self._check()
            try:
                return await self._continuations.open(request, caller)
            except Busy:
                await self._first_of(self._until_over(request, caller), gone, LOOK_SECONDS)

    def _until_over(self, request: TurnRequest, caller: Caller) -> Awaitable[object]:
        """Have the turn that runs end, where that is wanted, and wait until it has, where it runs here."""
        previous = self._active.get(request.previous_response_id)
        if previous is not None and previous.caller.scope == caller.scope:
            self._disturb(previous)
            return previous.ended.wait()
        conversation = request.conversation_id
        holder = self._continuations.sessions.holder(caller, conversation) if conversation is not None else None
        if holder is None:
            return asyncio.Event().wait()
        if (turn := self._active.holding(holder)) is not None:
            self._disturb(turn)
        return holder.until_over()

    def _disturb(self, turn: ActiveTurn) -> None:
        if self._when_busy == "interrupt" and turn.stop is not None:
            turn.stop.stop("steered")
        elif self._when_busy == "steer" and turn.context is not None:
            turn.context.is_steered = True

    async def _first_of(self, event: Awaitable[object], gone: asyncio.Future[object], seconds: float | None) -> None:
        """Wait for an event.

        Raises:
            InvalidRequest: The caller has left; no client receives this error.
        """
        waiting = asyncio.ensure_future(event)
        try:
            await asyncio.wait({waiting, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if gone.done():
            raise InvalidRequest("The caller left before its turn could begin.")
