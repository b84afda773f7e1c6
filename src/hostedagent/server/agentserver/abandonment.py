"""Ends the task that pulls a turn whose client has gone, where the SDK does not end it.

On Python 3.11 `asyncio.wait_for` loses a cancellation that comes together with a result. The SDK awaits the events of
an unstored stream in it once the client has gone, and then waits forever for an event to be sent: the request and its
tasks would stay until the process ends, and its permit with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Final, TypeVar

T = TypeVar("T")

PATIENCE_SECONDS: Final = 1.0
"""How long a turn without a client may stand between two events. A run that winds up is left alone."""


# Can go when the SDK needs Python 3.12, whose `asyncio.wait_for` passes every cancellation on.
class Abandonment:
    """Watches over one turn in the foreground.

    Concurrency: used on the loop of the turn. `watch` has one consumer; `leave` may be called more than once.
    """

    def __init__(self) -> None:
        self._has_left = False
        self._is_working = False
        self._puller: asyncio.Task[object] | None = None

    def leave(self) -> None:
        """Take note that the client has gone."""
        if not self._has_left:
            self._has_left = True
            self._check_later()

    async def watch(self, events: AsyncIterable[T]) -> AsyncGenerator[T]:
        """The events, and by whom they are pulled."""
        self._puller = asyncio.current_task()
        self._is_working = True
        try:
            async for event in events:
                self._is_working = False
                yield event
                self._is_working = True
        finally:
            self._is_working = False

    def _check_later(self) -> None:
        asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._check)

    def _check(self) -> None:
        if self._puller is None or self._puller.done():
            return
        if not self._is_working:
            self._puller.cancel()
        self._check_later()
