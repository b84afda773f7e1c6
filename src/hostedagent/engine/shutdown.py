"""The shutdown of the process: announced once, followed by a grace period, after which running turns are stopped.

The SDK informs running turns at different times, depending on how they were requested: at once, or only when the last
connection has closed. Here all turns have one deadline, counted from the signal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

TAKING_SECONDS: Final = 0.5
"""Seconds that the SDK needs until it shuts down its tasks, which it does not announce."""


class GracefulShutdown:
    """The state of the shutdown, and its deadline.

    Args:
        grace: Seconds from the announcement until running turns are stopped.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self.has_begun = False
        self.over = asyncio.Event()
        self._closing = asyncio.Event()
        self._called: set[Callable[[], None]] = set()

    def begin(self) -> None:
        """Announce the shutdown: no new turn starts. Only the first call has an effect."""
        if self.has_begun:
            return
        self.has_begun = True
        if self._grace > 0:
            asyncio.get_running_loop().call_later(self._grace, self._end)
        else:
            self._end()

    def _end(self) -> None:
        self.over.set()
        for call in tuple(self._called):
            call()

    def call_when_over(self, call: Callable[[], None]) -> None:
        """Call a function at the deadline, or at once if it has passed; cheaper than a waiting task."""
        self._called.add(call)
        if self.over.is_set():
            call()

    def forget(self, call: Callable[[], None]) -> None:
        """Remove a function."""
        self._called.discard(call)

    @property
    def has_closed(self) -> bool:
        """Whether everything was closed; nothing opens it again."""
        return self._closing.is_set()

    def close(self) -> None:
        """Record that the last connection has closed and the SDK shuts down."""
        self.begin()
        self._closing.set()

    async def taken_back(self, shutdown: asyncio.Event) -> None:
        """Wait until the SDK can leave a turn to the next process; earlier, it would treat the turn as failed.

        Args:
            shutdown: The turn's own event, which the SDK sets when it begins to shut down.
        """
        await self._closing.wait()
        await shutdown.wait()
        await asyncio.sleep(TAKING_SECONDS)
