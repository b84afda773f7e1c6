"""Ends the task that consumes a turn whose client has disconnected, if the SDK does not.

On Python 3.11, `asyncio.wait_for` loses a cancellation that arrives together with a result. The SDK uses it to await
the events of a stream after a disconnect, and may then wait forever: the request, its tasks, its permit and the lease
of its conversation would stay until the process ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from contextvars import Context
from typing import Final, TypeVar

T = TypeVar("T")

PATIENCE_SECONDS: Final = 1.0
"""Seconds that a turn without a client may pause between two events, unless its run is cleaning up."""

STORING_SECONDS: Final = 10.0
"""The same, if the SDK stores the response between two events."""


# Can go when the SDK needs Python 3.12, whose `asyncio.wait_for` passes every cancellation on.
class Abandonment:
    """Watches one foreground turn.

    Concurrency: used on the event loop of the turn. `watch` has one consumer; `leave` may be called repeatedly.
    """

    def __init__(self, *, stores: bool = False) -> None:
        self._patience = STORING_SECONDS if stores else PATIENCE_SECONDS
        self._loop = asyncio.get_running_loop()
        self._has_left = False
        self._stands_since: float | None = None
        self._puller: asyncio.Task[object] | None = None
        self._next_check: asyncio.TimerHandle | None = None

    def leave(self) -> None:
        """Record that the client has disconnected, or that its request has ended."""
        if not self._has_left:
            self._has_left = True
            self._begin()

    async def watch(self, events: AsyncIterable[T]) -> AsyncGenerator[T]:
        """Yield the events, and note which task pulls them."""
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
        # The event loop keeps cancelled timers and their contexts for a while, which must not keep the request alive.
        self._next_check = self._loop.call_later(self._patience, self._check, context=Context())

    def _check(self) -> None:
        stands = self._loop.time() - self._stands_since if self._stands_since is not None else 0.0
        if self._puller is not None and stands >= self._patience:
            self._puller.cancel()
        self._check_later()

    def _end(self, _: object) -> None:
        if self._next_check is not None:
            self._next_check.cancel()
