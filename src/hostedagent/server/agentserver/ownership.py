"""Checks the owner of a response on routes that name one, before the SDK does.

Some versions of the SDK find a running or just finished response by its id alone. An id of another user therefore gets
the same answer here as one that does not exist, on every route.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable
from contextvars import Context
from typing import Final

from azure.ai.agentserver.core.streaming import EventStreamNotFoundError, streams

from hostedagent.engine.responses import ResponseStore
from hostedagent.identity import Caller
from hostedagent.protocol.statuses import RUNNING

RESPONSE_ID: Final = re.compile(r"caresp_.{48}(..)?", re.DOTALL)
"""Ids that the SDK looks up, whatever characters they have; it refuses others by itself."""

REPLAY_SECONDS: Final = 600.0
"""Seconds that the SDK lets clients replay the events of a background response."""


MAX_OPEN_FILES: Final = 64
"""Maximum of ended background streams that stay readable on disk: the SDK holds an open file for each."""


class EventBuffers:
    """Releases the event buffers that the SDK keeps forever, once their replay window has ended.

    https://github.com/Azure/azure-sdk-for-python/pull/46393 (review). Can go when the SDK sweeps its registry.

    Args:
        are_on_disk: Whether the SDK keeps the events of background responses for the next process.
    """

    def __init__(self, *, are_on_disk: bool) -> None:
        self._are_on_disk = are_on_disk
        self._timers: dict[asyncio.TimerHandle, Callable[[], None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def find(self, response_id: str, store: ResponseStore, caller: Caller) -> None:
        """Make the SDK read the events of a response that ended in an earlier process; it knows only its own."""
        names = (response_id, private_id(response_id, caller.platform_user))
        if not self._are_on_disk or any([await _is_known(name) for name in names]):
            return
        if (await store.get(caller, response_id)).get("status") in RUNNING:
            return  # Its turn is about to be resumed and reads them itself.
        for name in names:
            stream = await streams.get_or_create(name)
            try:
                is_empty = await stream.last_cursor() is None
            except EventStreamNotFoundError:
                is_empty = True
            if not is_empty:
                await stream.close()
                self.release_later(response_id, caller.platform_user)
                return
            await streams.delete(name)

    async def release(self, response_id: str, user: str | None) -> None:
        """Delete the buffer of a response now."""
        for stream_id in (response_id, private_id(response_id, user)):
            try:
                await streams.get(stream_id)
            except EventStreamNotFoundError:
                continue  # Deleting a missing buffer would leave a marker behind.
            await streams.delete(stream_id)

    def release_later(self, response_id: str, user: str | None) -> None:
        """Delete the buffer of a background response after its replay window."""

        def due() -> None:
            self._timers.pop(timer, None)
            task = asyncio.get_running_loop().create_task(self.release(response_id, user))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        # The context of the request would keep its body that long.
        timer = asyncio.get_running_loop().call_later(REPLAY_SECONDS, due, context=Context())
        self._timers[timer] = due
        while self._are_on_disk and len(self._timers) > MAX_OPEN_FILES:
            oldest, release_now = next(iter(self._timers.items()))
            oldest.cancel()
            release_now()

    def close(self) -> None:
        """Cancel pending releases during shutdown."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()


async def _is_known(stream_id: str) -> bool:
    try:
        await streams.get(stream_id)
    except EventStreamNotFoundError:
        return False
    return True


def private_id(response_id: str, user: str | None) -> str:
    """The id under which newer SDKs keep the buffer of an identified user's response."""
    text = json.dumps([user, response_id], separators=(",", ":"))
    return f"lifecycle-{hashlib.sha256(text.encode()).hexdigest()}"
