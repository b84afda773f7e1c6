"""Backpressure: a turn, and with it the agent, waits for a slow reader of its stream.

The SDK buffers the events of a stored turn in an unbounded queue, so the bound is here: events that the turn produced
are counted against those that the server's socket accepted. It does not apply to background turns, whose events are
stored anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from hostedagent.protocol.request.turn_request import TurnRequest

YIELD_EVERY: Final = 16
"""Events after which the loop gets a turn: an agent that never waits must not starve the other requests."""

MAX_AHEAD: Final = 32
"""Events that a turn may be ahead of its reader."""

_PATIENCE: Final = 1.0
"""Seconds after which a count is not believed in while nothing is being sent."""


class FlowControl:
    """Counts the events of one response that its reader has not received yet.

    Concurrency: one turn produces and one request sends, on one event loop.

    Args:
        is_read: Whether events are sent while the turn runs; otherwise no client waits for the first one.
    """

    def __init__(self, *, is_bounded: bool = True, is_read: bool = True) -> None:
        self.is_bounded = is_bounded
        self._is_read = is_read
        self._given = 0
        self._ahead = 0
        self._is_sending = False
        self._is_over = False
        self._room = asyncio.Event()

    async def send(self, sending: Awaitable[None], events: int) -> None:
        """Await a send, and count its events once the server has accepted them."""
        self._is_sending = True
        try:
            await sending
        finally:
            self._is_sending = False
        self._ahead = max(self._ahead - events, 0)
        self._room.set()  # `give` looks again whether that is enough.

    def taken(self) -> None:
        """Count an event that the reader has taken before it asks for the next."""
        self._ahead = max(self._ahead - 1, 0)

    async def give(self) -> None:
        """Count an event that was produced, and wait while the reader is too far behind."""
        if not self._is_read:
            return
        self._given += 1
        if self._given % YIELD_EVERY == 3:  # The third event is the first delta of a plain answer.
            await asyncio.sleep(0)
        if not self.is_bounded:
            return
        self._ahead += 1
        while self._ahead >= MAX_AHEAD and not self._is_over:
            self._room.clear()
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._room.wait()
            except TimeoutError:
                if not self._is_sending:  # The reader has received everything: some event was never sent.
                    self._ahead = 0

    def end(self) -> None:
        """Stop waiting, because the reader has gone or the turn must end."""
        self._is_over = True
        self._room.set()


def flow_of(request: TurnRequest) -> FlowControl:
    """The flow control of a turn."""
    is_bounded = request.stream and request.store and not request.background
    return FlowControl(is_bounded=is_bounded, is_read=request.stream or request.background)
