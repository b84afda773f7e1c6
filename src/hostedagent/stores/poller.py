"""Looks for work in a store at regular intervals."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from msgspec import Struct, field

from hostedagent.observability.logging import log_failure

_JITTER: Final = 0.2
"""Share of the interval by which a pause varies, so that replicas do not look at the same time."""

logger = logging.getLogger(__name__)


class Poller(Struct):
    """Repeats a look at a store in a task, after a pause or as soon as it is woken.

    Args:
        read: The look. If it fails it is repeated as usual; the log reports only the first of several failures.
        wanted: Names in the log the work that is looked for.
    """

    read: Callable[[], Awaitable[None]]
    seconds: float
    wanted: str
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None
    _is_reported: bool = False

    def open(self) -> None:
        """Start looking, in the context of the call."""
        if self._task is None:
            self._task = asyncio.create_task(self._repeat(), name=f"hostedagent-poller: {self.wanted}")

    async def aclose(self) -> None:
        """Stop looking."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    def wake(self) -> None:
        """Look again without a pause."""
        self._wake.set()

    async def look(self) -> None:
        """Look once, even if the poller is closed."""
        try:
            await self.read()
            self._is_reported = False
        except Exception as error:  # noqa: BLE001 - otherwise this would end the search for good
            if not self._is_reported:
                log_failure(logger, f"Looking for {self.wanted} failed", error)
            self._is_reported = True

    async def _repeat(self) -> None:
        while True:
            self._wake.clear()
            await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(self.seconds * random.uniform(1 - _JITTER, 1 + _JITTER)):
                    await self._wake.wait()
