"""Signals within one process, for stores that have no way to deliver them to others."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator

from hostedagent.stores.base import Signal

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
