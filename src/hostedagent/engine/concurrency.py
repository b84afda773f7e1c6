"""Limits concurrent turns, and the requests that wait for one to end.

The decision is made before anything of a request is stored. A turn keeps its slot until it has ended, even if its
caller has disconnected or was answered earlier (in the background). Waiting requests are served in order of arrival.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct, field

from hostedagent.errors import InvalidRequest, TooManyTurns

MAX_RETRY_AFTER: Final = 60
"""The longest that a caller is told to stay away, in seconds."""

_WEIGHT: Final = 0.2
"""Weight of the latest turn in the moving average of durations."""


class Permit(Struct):
    """The slot of one turn."""

    limiter: ConcurrencyLimiter
    _is_taken: bool = True
    _has_begun: bool = False
    _since: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """Pass the slot to the turn, which releases it itself."""
        self._has_begun = True

    def abandon(self) -> None:
        """End the request; the slot is free unless a turn has started."""
        if not self._has_begun:
            self.release()

    def release(self) -> None:
        """End the turn and free the slot."""
        if self._is_taken:
            self._is_taken = False
            self.limiter.free(time.monotonic() - self._since if self._has_begun else None)


class ConcurrencyLimiter:
    """The slots of a host.

    Args:
        turns: The number of slots; `None` for no limit.
        waiting: The most requests that wait for one.
    """

    def __init__(self, turns: int | None = None, waiting: int = 0) -> None:
        self._turns = turns
        self._most_waiting = waiting
        self._taken = 0
        self._usual = 1.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.on_ended: list[Callable[[], None]] = []
        """Called when a turn has ended, for turns that wait elsewhere: one for each host that shares these slots."""

    @property
    def is_full(self) -> bool:
        """Whether a turn would have to wait."""
        return self._turns is not None and (self._taken >= self._turns or bool(self._waiting))

    def __len__(self) -> int:
        """The number of permits in use."""
        return self._taken

    def grant(self) -> Permit:
        """A slot for a turn that was admitted before, even beyond the limit."""
        self._taken += 1
        return Permit(self)

    async def acquire(self, left: Callable[[], Awaitable[object]]) -> Permit:
        """A permit for a request; waits for one if that is allowed.

        Args:
            left: Returns when the caller has disconnected, which ends the wait.

        Raises:
            TooManyTurns: All permits are in use, and the maximum of requests already waits.
            InvalidRequest: The caller disconnected while the request waited; no client receives this error.
        """
        if not self.is_full:
            return self.grant()
        if len(self._waiting) >= self._most_waiting:
            raise TooManyTurns("The host runs as many turns as it may. Try again later.", self.retry_after())
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        gone = asyncio.ensure_future(left())
        has_slot = False
        try:
            await asyncio.wait({place, gone}, return_when=asyncio.FIRST_COMPLETED)
            has_slot = place.done() and not gone.done()
        finally:
            gone.cancel()
            if not has_slot:
                self._leave(place)
        if not has_slot:
            raise InvalidRequest("The caller left before its turn could begin.")
        return Permit(self)

    def _leave(self, place: asyncio.Future[None]) -> None:
        if place.done():
            self.free(None)
        else:
            self._waiting.remove(place)

    def free(self, seconds: float | None) -> None:
        """Free a slot after a turn of so many seconds; the first waiting request gets it."""
        if seconds is not None:
            self._usual += _WEIGHT * (seconds - self._usual)
        if self._waiting and self._turns is not None and self._taken <= self._turns:
            self._waiting.popleft().set_result(None)
        else:
            self._taken -= 1
        if seconds is not None:
            for wake in self.on_ended:
                wake()

    def retry_after(self) -> int:
        """Estimated seconds until a slot is free for one more request, from the usual duration of turns."""
        ahead = (len(self._waiting) + 1) / max(self._turns or 1, 1)
        return min(max(math.ceil(ahead * self._usual), 1), MAX_RETRY_AFTER)


async def never() -> None:
    """Wait for the disconnection of a caller that has no connection."""
    await asyncio.Event().wait()
