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

from msgspec import Struct, field

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


class EventWriter(Struct):
    """The writer of one log.

    Args:
        is_batched: Whether writing is expensive enough to collect events first.
        confirm: Called before each batch; raises `Conflict` if another process now writes the log.
        lost: Called when writing has ended before the turn.
        is_closed: Whether writing has ended: another process has the turn, or the log was unavailable too long.
    """

    log: EventLog
    caller: Caller
    response_id: str
    is_batched: bool
    confirm: Callable[[], Awaitable[None]] | None = None
    lost: Callable[[], None] | None = None
    is_closed: bool = False
    _waiting: list[LoggedEvent] = field(default_factory=list[LoggedEvent])
    _full: asyncio.Event = field(default_factory=asyncio.Event)
    _written: asyncio.Event = field(default_factory=asyncio.Event)
    _writing: asyncio.Task[None] | None = None
    _has_begun: bool = False

    async def add(self, event: LoggedEvent) -> None:
        """Write an event, at once or with later ones. The first event is in the log when this returns."""
        if self.is_closed:
            return
        self._waiting.append(event)
        if not (self.is_batched and self._has_begun):
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
        self.is_batched = False
        self._full.set()
        if self._writing is not None:
            await asyncio.wait((self._writing,))
        await self._write()

    async def _write_batches(self) -> None:
        """Write buffered events until the end."""
        while self._waiting and not self.is_closed:
            await self._write()
            self._full.clear()
            if self.is_batched:
                with suppress(TimeoutError):
                    async with asyncio.timeout(BATCH_SECONDS):
                        await self._full.wait()

    async def _write(self) -> None:
        tries = 0
        while self._waiting and not self.is_closed:
            batch = self._waiting[:]
            try:
                if self.confirm is not None:
                    await self.confirm()
                await extend(self.log, self.caller, self.response_id, batch)
            except (Conflict, StoreConflict):
                self.is_closed = True
            except StoreError as error:
                tries += 1
                if tries > MAX_RETRIES:
                    log_failure(logger, f"The events of {self.response_id} could not be written", error)
                    self.is_closed = True
                else:
                    await asyncio.sleep(RETRY_SECONDS)
            else:
                del self._waiting[: len(batch)]
        self._written.set()
        if self.is_closed and self.lost is not None:
            self.lost()
