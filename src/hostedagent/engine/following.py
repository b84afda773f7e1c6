"""Follows the events of a turn that may run in another process, and ends when that process has died.

The log of a dead process stays unfinished, unless another process resumes its turn: a follower then writes its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Final

from hostedagent.engine.responses import ResponseStore
from hostedagent.engine.sent_events import end_stream
from hostedagent.identity import Caller
from hostedagent.protocol.envelope import public_response
from hostedagent.protocol.statuses import RUNNING
from hostedagent.stores.base import EventLog, LoggedEvent, StoreError

LOOK_SECONDS: Final = 3.0
"""Seconds that the log of another process may be quiet before the process is checked."""

CANCEL_SECONDS: Final = 0.2
"""After how long a cancellation is repeated."""


async def following(
    log: EventLog, store: ResponseStore, caller: Caller, response_id: str, *, after: int
) -> AsyncGenerator[list[LoggedEvent]]:
    """Yield the batches of a log, whose end is added if the response has ended and no other process adds it.

    Args:
        after: The number of the event before the first batch.
    """
    batches: AsyncIterator[list[LoggedEvent]] = log.subscribe(caller, response_id, after=after)
    arriving = asyncio.ensure_future(anext(batches, None))
    try:
        while True:
            await asyncio.wait((arriving,), timeout=LOOK_SECONDS)
            if not arriving.done():
                if store.active.get(response_id) is None:
                    with suppress(StoreError):  # Which the log itself reports. In a conflict, another process ends it.
                        await _end(log, store, caller, response_id)
                continue
            if (batch := arriving.result()) is None:
                return
            yield batch
            arriving = asyncio.ensure_future(anext(batches, None))
    finally:
        while not arriving.done():  # A database's pool may lose a cancellation.
            arriving.cancel()
            await asyncio.wait((arriving,), timeout=CANCEL_SECONDS)
        if isinstance(batches, AsyncGenerator):
            await batches.aclose()


async def _end(log: EventLog, store: ResponseStore, caller: Caller, response_id: str) -> None:
    """End the stream of a response that has ended, unless a process will resume its turn and end it."""
    response = await store.get(caller, response_id)
    if response.get("status") not in RUNNING and not await store.is_resumed(caller, response_id):
        await end_stream(log, caller, response_id, public_response(response))
