"""Ends the task that pulls a turn whose client has gone, where the SDK does not end it.

On Python 3.11 `asyncio.wait_for` loses a cancellation that comes together with a result. The SDK awaits the events of
a stream in it once the client has gone, and then may wait forever for an event to be sent: the request and its tasks
would stay until the process ends, and its permit and the lease of its conversation with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from contextvars import Context
from typing import Final, TypeVar

T = TypeVar("T")

PATIENCE_SECONDS: Final = 1.0
"""How long a turn without a client may stand between two events. A run that winds up is left alone."""

STORING_SECONDS: Final = 10.0
"""How long it may where the SDK stores the response between two events."""


# Can go when the SDK needs Python 3.12, whose `asyncio.wait_for` passes every cancellation on.
class Abandonment:
    """Watches over one turn in the foreground.

    Concurrency: used on the loop of the turn. `watch` has one consumer; `leave` may be called more than once.

    Args:
        stores: Whether the SDK stores the response.
    """

    def __init__(self, *, stores: bool = False) -> None:
        self._patience = STORING_SECONDS if stores else PATIENCE_SECONDS
        self._loop = asyncio.get_running_loop()
        self._has_left = False
        self._stands_since: float | None = None
        self._puller: asyncio.Task[object] | None = None
        self._next_check: asyncio.TimerHandle | None = None

    def leave(self) -> None:
        """Take note that the client has gone, or that its request is over."""
        if not self._has_left:
            self._has_left = True
            self._begin()

    async def watch(self, events: AsyncIterable[T]) -> AsyncGenerator[T]:
        """The events, and by whom they are pulled."""
        self._puller = asyncio.current_task()
        self._begin()
        try:
            async for event in events:
                self._stands_since = self._loop.time()
                yield event
                self._stands_since = None
        finally:
            self._stands_since = self._loop.time()

    def _begin(self) -> None:
        if self._has_left and self._puller is not None and not self._puller.done():
            self._puller.add_done_callback(self._end)
            self._check_later()

    def _check_later(self) -> None:
        # The loop keeps cancelled timers for a while, and each its context: it must not keep the request.
        self._next_check = self._loop.call_later(self._patience, self._check, context=Context())

    def _check(self) -> None:
        stands = self._loop.time() - self._stands_since if self._stands_since is not None else 0.0
        if self._puller is not None and stands >= self._patience:
            self._puller.cancel()
        self._check_later()

    def _end(self, _: object) -> None:
        if self._next_check is not None:
            self._next_check.cancel()
