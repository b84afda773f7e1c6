"""Signals and the events of background streams within one process, for stores that do not share them."""

from __future__ import annotations

import asyncio
import secrets
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from operator import attrgetter

from msgspec import Struct, field

from hostedagent.identity import Caller
from hostedagent.stores.base import LoggedEvent, Signal, StoreConflict, StoreNotFound

MAX_QUEUED = 1_000
"""Maximum of unread signals of a slow listener, before it loses the oldest."""


class LocalSignals:
    """`Signals` of one process.

    Args:
        is_exclusive: Whether the store admits one process at a time: a process of any other name has ended. Otherwise
            processes have no names, and their leases have to expire.
    """

    def __init__(self, *, is_exclusive: bool) -> None:
        self._name = secrets.token_hex(16) if is_exclusive else ""
        self._listeners: set[asyncio.Queue[Signal]] = set()

    async def name(self) -> str:
        """The name of this process."""
        return self._name

    async def is_dead(self, name: str) -> bool:
        """Whether the process of that name has certainly ended."""
        return self._name != "" and name not in ("", self._name)

    async def publish(self, signal: Signal) -> None:
        """Send a signal to every listener of this process."""
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(signal)

    async def receive(self) -> AsyncIterator[Signal]:
        """The signals published from now on."""
        queue: asyncio.Queue[Signal] = asyncio.Queue(MAX_QUEUED)
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)


class _Log(Struct):
    events: list[LoggedEvent] = field(default_factory=list[LoggedEvent])
    is_finished: bool = False
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Wake the subscribers."""
        self.grown.set()
        self.grown = asyncio.Event()

    def after(self, number: int) -> list[LoggedEvent]:
        """The events with a higher number."""
        return self.events[bisect_right(self.events, number, key=attrgetter("number")) :]


class LocalEventLog:
    """An `EventLog` that ends with the process."""

    def __init__(self) -> None:
        self._logs: dict[str, _Log] = {}

    async def append(self, caller: Caller, response_id: str, events: Sequence[LoggedEvent]) -> None:
        """Add events and wake the subscribers; the first call creates the log."""
        log = self._logs.setdefault(_key(caller, response_id), _Log())
        last = log.events[-1].number if log.events else -1
        log.events.extend(event for event in events if event.number > last)
        log.wake()

    async def extend(self, caller: Caller, response_id: str, events: Sequence[LoggedEvent]) -> None:
        """Like `append`, but adds nothing if another event has one of the numbers."""
        log = self._logs.get(_key(caller, response_id), _Log())
        there = {event.number: event for event in log.after(events[0].number - 1)} if events else {}
        if any(there.get(event.number, event) != event for event in events):
            raise StoreConflict("Another process writes the events of this response.")
        await self.append(caller, response_id, events)

    async def read(self, caller: Caller, response_id: str, *, after: int = -1) -> list[LoggedEvent]:
        """The events with a higher number than `after`, in order."""
        return self._find(caller, response_id).after(after)

    async def subscribe(self, caller: Caller, response_id: str, *, after: int = -1) -> AsyncIterator[list[LoggedEvent]]:
        """Yield batches of the events after `after`, existing and new ones, until the log is finished."""
        log = self._find(caller, response_id)
        while True:
            grown, is_finished = log.grown, log.is_finished
            if batch := log.after(after):
                after = batch[-1].number
                yield batch
            elif is_finished:
                return
            else:
                await grown.wait()

    async def finish(self, caller: Caller, response_id: str) -> None:
        """Mark the log complete: subscribers end after its last event."""
        if (log := self._logs.get(_key(caller, response_id))) is not None:
            log.is_finished = True
            log.wake()

    async def delete(self, caller: Caller, response_id: str) -> None:
        """Erase the log and end its subscribers; does nothing if there is none."""
        if (log := self._logs.pop(_key(caller, response_id), None)) is not None:
            log.events, log.is_finished = [], True
            log.wake()

    def _find(self, caller: Caller, response_id: str) -> _Log:
        log = self._logs.get(_key(caller, response_id))
        if log is None:
            raise StoreNotFound(f"There are no events of {response_id}.")
        return log


def _key(caller: Caller, response_id: str) -> str:
    return caller.scope.key("events", response_id)
