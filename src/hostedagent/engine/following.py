"""Follows the events of a turn that may run in another process, and ends when that process has died.

The log of a dead process stays unfinished, unless another process resumes its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Final

from hostedagent.engine.responses import ResponseStore
from hostedagent.failures import error_object
from hostedagent.identity import Caller
from hostedagent.protocol.envelope import public_response
from hostedagent.protocol.sse import event_data
from hostedagent.protocol.types import Json
from hostedagent.stores.base import LoggedEvent, StoreError
from hostedagent.stores.running import DIED

LOOK_SECONDS: Final = 3.0
"""Seconds that the log of another process may be quiet before the process is checked."""

CANCEL_SECONDS: Final = 0.2
"""After how long a cancellation is repeated."""


async def following(
    batches: AsyncIterator[list[LoggedEvent]], store: ResponseStore, caller: Caller, response_id: str, *, after: int
) -> AsyncGenerator[list[LoggedEvent]]:
    """Yield the batches of a log, followed by a terminal event if the process of the turn has died.

    Args:
        batches: The events of the log.
        store: Detects that the process has died.
        caller: The owner of the response.
        response_id: The response.
        after: The number of the event before the first batch.
    """
    arriving = asyncio.ensure_future(anext(batches, None))
    try:
        while True:
            is_here = store.active.get(response_id) is not None
            await asyncio.wait((arriving,), timeout=None if is_here else LOOK_SECONDS)
            if not arriving.done():
                if (event := await end_of_dead(store, caller, response_id, after + 1)) is not None:
                    yield [event]
                    return
                continue
            if (batch := arriving.result()) is None:
                return
            after = batch[-1].number if batch else after
            yield batch
            arriving = asyncio.ensure_future(anext(batches, None))
    finally:
        while not arriving.done():  # A database's pool may lose a cancellation.
            arriving.cancel()
            await asyncio.wait((arriving,), timeout=CANCEL_SECONDS)
        if isinstance(batches, AsyncGenerator):
            await batches.aclose()


async def end_of_dead(store: ResponseStore, caller: Caller, response_id: str, number: int) -> LoggedEvent | None:
    """The terminal event of a turn whose process has died and that is not resumed; `None` for any other turn."""
    try:
        response = await store.get(caller, response_id)
    except StoreError:  # It was deleted, or the store is unavailable, which the log itself reports.
        return None
    if response.get("error") != error_object(DIED):
        return None
    return last_event(response, number)


def last_event(response: Mapping[str, Json], number: int) -> LoggedEvent:
    """The terminal event of a turn that ended without one."""
    event = {"type": "response.failed", "response": public_response(response), "sequence_number": number}
    return LoggedEvent(number, event_data(event))
