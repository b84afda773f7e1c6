"""Writes the events of one background stream to its log: the first at once, then in batches.

Readers get an event only once it is in the log, so that no client has an event that a crash loses. While the log is
unavailable, events are buffered; when there are many, the turn waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from hostedagent.errors import Conflict
from hostedagent.identity import Caller
from hostedagent.observability.logging import log_failure
from hostedagent.stores.base import EventLog, LoggedEvent, StoreConflict, StoreError, extend

BATCH_SECONDS: Final = 0.05
BATCH_EVENTS: Final = 32
"""A batch is written after so long, or once it has so many events."""

MAX_WAITING: Final = 2_000
"""Maximum of buffered events before the turn waits."""

RETRY_SECONDS: Final = 0.5
MAX_RETRIES: Final = 20

logger = logging.getLogger(__name__)


class EventWriter:
    """The writer of one log.

    Args:
        is_batched: Whether writing is expensive enough to collect events first.
        confirm: Called before each batch; raises `Conflict` if another process now writes the log.
        lost: Called when writing has ended before the turn.

    Attributes:
        is_closed: Whether writing has ended: another process has the turn, or the log was unavailable too long.
    """

    def __init__(
        self,
        log: EventLog,
        caller: Caller,
        response_id: str,
        *,
        is_batched: bool,
        confirm: Callable[[], Awaitable[None]] | None = None,
        lost: Callable[[], None] | None = None,
    ) -> None:
        self._log = log
        self._caller = caller
        self._response_id = response_id
        self._pause = BATCH_SECONDS if is_batched else 0.0
        self._confirm = confirm
        self._lost = lost
        self._waiting: list[LoggedEvent] = []
        self._full, self._written = asyncio.Event(), asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._has_begun = False
        self.is_closed = False

    async def add(self, event: LoggedEvent) -> None:
        """Write an event, at once or with later ones. The first event is in the log when this returns."""
        if self.is_closed:
            return
        self._waiting.append(event)
        if not (self._pause and self._has_begun):
            self._has_begun = True
            await self._write()
            return
        if len(self._waiting) >= BATCH_EVENTS:
            self._full.set()
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_batches(), name="hostedagent-events")
        while len(self._waiting) > MAX_WAITING and not self.is_closed:
            self._written.clear()
            await self._written.wait()

    async def flush(self) -> None:
        """Write the buffered events, because the store must not be ahead of the events that clients can read."""
        while self._waiting and not self.is_closed:
            if self._writing is None or self._writing.done():
                await self._write()
                continue
            self._full.set()
            self._written.clear()
            await self._written.wait()

    async def close(self) -> None:
        """Write the buffered events, and end."""
        self._pause = 0.0
        self._full.set()
        if self._writing is not None:
            await asyncio.wait((self._writing,))
        await self._write()

    async def _write_batches(self) -> None:
        """Write buffered events until the end."""
        while self._waiting and not self.is_closed:
            await self._write()
            self._full.clear()
            if self._pause:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause):
                        await self._full.wait()

    async def _write(self) -> None:
        tries = 0
        while self._waiting and not self.is_closed:
            batch = self._waiting[:]
            try:
                if self._confirm is not None:
                    await self._confirm()
                await extend(self._log, self._caller, self._response_id, batch)
            except (Conflict, StoreConflict):
                self.is_closed = True
            except StoreError as error:
                tries += 1
                if tries > MAX_RETRIES:
                    log_failure(logger, f"The events of {self._response_id} could not be written", error)
                    self.is_closed = True
                else:
                    await asyncio.sleep(RETRY_SECONDS)
            else:
                del self._waiting[: len(batch)]
        self._written.set()
        if self.is_closed and self._lost is not None:
            self._lost()
