"""An event log over a `Store`: it outlives the process, and another process can continue it.

The events of a response are framed in an append-only sequence of numbered records. An event that is larger than a
record continues in the next one. Concurrent writers cannot interleave: a record is created once, and the writer that
loses the race reads the other's record before it tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Sequence
from typing import Final

from msgspec import Struct, field

from hostedagent.identity import Caller
from hostedagent.stores.base import ABSENT, Key, LoggedEvent, Store, StoreConflict, StoreNotFound, Write

EVENTS: Final = "events"

TTL: Final = 86_400.0
"""Seconds that the events of a response are kept unless a process deletes them."""

_PART_BYTES: Final = 900_000
_WINDOW: Final = 16
"""Records read at a time."""

_FRESH: Final = b"="
_MORE: Final = b"+"
"""First byte of a record: whether it continues the last event of the record before it."""

_FINISHED: Final = LoggedEvent(-1, b"")
"""The last frame of a complete log."""


class _Reading(Struct):
    """A position in a log.

    Args:
        rest: The start of an event that the next record continues.
        last: The highest event number read.
    """

    part: int = 0
    rest: bytes = b""
    last: int = -1
    is_finished: bool = False

    def feed(self, part: bytes) -> list[LoggedEvent]:
        """Read the next record."""
        self.part += 1
        data = self.rest + part[1:] if part[:1] == _MORE else part[1:]
        events: list[LoggedEvent] = []
        while (framed := _read_frame(data)) is not None:
            event, data = framed
            if event == _FINISHED:
                self.is_finished = True
            elif event.number > self.last:
                self.last = event.number
                events.append(event)
        self.rest = data
        return events


class _Open(Struct):
    """A log in use by this process."""

    written: _Reading | None = None
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def wake(self) -> None:
        self.grown.set()
        self.grown = asyncio.Event()


class StoredEventLog:
    """An `EventLog` over a `Store`.

    Args:
        poll: Seconds between reads of a subscriber for events of other processes; `None` if only this one writes.
    """

    def __init__(self, store: Store, *, poll: float | None = None) -> None:
        self._store = store
        self._poll = poll
        self._open: dict[str, _Open] = {}

    async def append(self, caller: Caller, response_id: str, events: Sequence[LoggedEvent]) -> None:
        """Add events and wake the subscribers; the first call creates the log."""
        await self._write(caller, response_id, events)

    async def extend(self, caller: Caller, response_id: str, events: Sequence[LoggedEvent]) -> None:
        """Like `append`, but adds nothing if another event has one of the numbers; raises `StoreConflict`."""
        await self._write(caller, response_id, events, is_exclusive=True)

    async def read(self, caller: Caller, response_id: str, *, after: int = -1) -> list[LoggedEvent]:
        """The events with a higher number than `after`, in order."""
        reading = _Reading()
        events = await self._read(caller, response_id, reading)
        if not reading.part:
            raise StoreNotFound(f"There are no events of {response_id}.")
        return [event for event in events if event.number > after]

    async def subscribe(self, caller: Caller, response_id: str, *, after: int = -1) -> AsyncIterator[list[LoggedEvent]]:
        """Yield batches of the events after `after`, existing and new ones, until the log is finished."""
        reading, log = _Reading(), self._log(caller, response_id)
        while True:
            grown, before = log.grown, reading.part
            events = await self._read(caller, response_id, reading)
            if not reading.part:
                raise StoreNotFound(f"There are no events of {response_id}.")
            if batch := [event for event in events if event.number > after]:
                yield batch
            if reading.is_finished or not await self._exists(caller, response_id):
                return
            if reading.part == before:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll):
                        await grown.wait()

    async def finish(self, caller: Caller, response_id: str) -> None:
        """Mark the log complete: subscribers end after its last event."""
        if await self._exists(caller, response_id):
            await self._write(caller, response_id, [_FINISHED])
        self._open.pop(_name(caller, response_id), None)

    async def delete(self, caller: Caller, response_id: str) -> None:
        """Erase the log and end its subscribers; does nothing if there is none."""
        part = 0
        while True:
            keys = [_key(response_id, n) for n in range(part, part + _WINDOW)]
            found = await self._store.read(caller, keys)
            if there := [key for key, record in zip(keys, found, strict=True) if record is not None]:
                await self._store.delete(caller, there)
            if found[-1] is None:
                break
            part += _WINDOW
        if (log := self._open.pop(_name(caller, response_id), None)) is not None:
            log.wake()

    async def _write(
        self, caller: Caller, response_id: str, events: Sequence[LoggedEvent], *, is_exclusive: bool = False
    ) -> None:
        log = self._log(caller, response_id)
        async with log.writing:
            if log.written is None:
                log.written = _Reading()
                await self._read(caller, response_id, log.written)
            while True:
                at = log.written
                new = [event for event in events if event.number > at.last or event == _FINISHED]
                if is_exclusive and (len(new) < len(events) or (new and at.is_finished)):
                    await self._check_own(caller, response_id, events)
                if at.is_finished or (not new and at.part):
                    break
                data = b"".join(map(_frame, new))
                parts = [
                    (_MORE if start else _FRESH) + data[start : start + _PART_BYTES]
                    for start in range(0, len(data) or 1, _PART_BYTES)
                ]
                keys = [_key(response_id, at.part + n) for n in range(len(parts))]
                writes = [Write(key, part, ABSENT, TTL) for key, part in zip(keys, parts, strict=True)]
                try:
                    await self._store.write(caller, writes)
                except StoreConflict:
                    await self._read(caller, response_id, at)
                    continue
                except BaseException:
                    log.written = None  # Written or not: the next call reads it.
                    raise
                for part in parts:
                    at.feed(part)
                break
        log.wake()

    async def _check_own(self, caller: Caller, response_id: str, events: Sequence[LoggedEvent]) -> None:
        """Check that a log has no other events with these numbers, and none after its end."""
        reading = _Reading()
        there = {event.number: event for event in await self._read(caller, response_id, reading)}
        last = math.inf if reading.is_finished else reading.last
        if any(there.get(event.number) != event for event in events if event.number <= last):
            raise StoreConflict("Another process writes the events of this response.")

    async def _read(self, caller: Caller, response_id: str, reading: _Reading) -> list[LoggedEvent]:
        """The events from a position to the end, and the position there."""
        events: list[LoggedEvent] = []
        while True:
            keys = [_key(response_id, n) for n in range(reading.part, reading.part + _WINDOW)]
            for record in await self._store.read(caller, keys):
                if record is None:
                    return events
                events += reading.feed(record.value)

    async def _exists(self, caller: Caller, response_id: str) -> bool:
        (first,) = await self._store.read(caller, [_key(response_id, 0)])
        return first is not None

    def _log(self, caller: Caller, response_id: str) -> _Open:
        return self._open.setdefault(_name(caller, response_id), _Open())


def _key(response_id: str, part: int) -> Key:
    return Key(EVENTS, f"{response_id}:{part}")


def _name(caller: Caller, response_id: str) -> str:
    return caller.scope.key(EVENTS, response_id)


def _frame(event: LoggedEvent) -> bytes:
    return b"%d %d\n%b" % (event.number, len(event.data), event.data)


def _read_frame(data: bytes) -> tuple[LoggedEvent, bytes] | None:
    """The first event and the remaining bytes; `None` if it is incomplete."""
    head, newline, rest = data.partition(b"\n")
    if not newline:
        return None
    number, _, size = head.partition(b" ")
    end = int(size)
    return (LoggedEvent(int(number), rest[:end]), rest[end:]) if len(rest) >= end else None
