"""The writer of a stream's log: its batches, and what it does where the log fails or has another writer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from hostedagent.engine.event_writer import EventWriter
from hostedagent.errors import Conflict
from hostedagent.identity import Caller
from hostedagent.stores.base import LoggedEvent, StoreConflict, StoreUnavailable
from hostedagent.stores.local import LocalEventLog
from tests.patience import PATIENCE
from tests.virtual_time import virtual_time


class Log(LocalEventLog):
    """A log that notes when and how many events are written to it, and fails as it is told."""

    def __init__(self, *failures: Exception | None) -> None:
        super().__init__()
        self.failures = list(failures)
        self.batches: list[int] = []
        self.times: list[float] = []

    async def append(self, caller: Caller, response_id: str, events: Sequence[LoggedEvent]) -> None:
        self.times.append(asyncio.get_running_loop().time())
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        self.batches.append(len(events))
        await super().append(caller, response_id, events)


def writing(
    log: Log,
    *,
    is_batched: bool = False,
    confirm: Callable[[], Awaitable[None]] | None = None,
    lost: Callable[[], None] | None = None,
) -> EventWriter:
    return EventWriter(log, Caller(), "r", is_batched=is_batched, confirm=confirm, lost=lost)


def event(number: int) -> LoggedEvent:
    return LoggedEvent(number, b"{}")


@virtual_time
async def test_the_first_event_is_written_at_once_and_those_that_follow_together() -> None:
    log = Log()
    writer = writing(log, is_batched=True)
    for number in range(4):
        await writer.add(event(number))
    first = log.batches[:]
    await writer.close()

    assert (first, log.batches) == ([1], [1, 3])


@virtual_time
async def test_a_batch_is_written_after_50_ms_or_with_32_events() -> None:
    log = Log()
    writer = writing(log, is_batched=True)
    await writer.add(event(0))
    await writer.add(event(1))
    await asyncio.sleep(0)
    await writer.add(event(2))
    await asyncio.sleep(0.04)
    early = log.batches[:]
    await asyncio.sleep(0.02)
    late = log.batches[:]
    for number in range(3, 35):
        await writer.add(event(number))
    await asyncio.sleep(0.001)

    assert (early, late, log.batches) == ([1, 1], [1, 1, 1], [1, 1, 1, 32])


@pytest.mark.parametrize("failure", [StoreConflict("another writes it"), Conflict("another has the turn")])
@pytest.mark.parametrize("tells", [True, False])
async def test_a_log_of_another_writer_gets_nothing_more(failure: Exception, tells: bool) -> None:
    log, lost = Log(None, failure), list[str]()
    writer = writing(log, lost=(lambda: lost.append("lost")) if tells else None)
    for number in range(3):
        await writer.add(event(number))
    await writer.flush()
    await writer.close()

    assert (writer.is_closed, log.batches, set(lost)) == (True, [1], {"lost"} if tells else set())


async def test_nothing_is_written_before_it_is_confirmed_that_this_process_may() -> None:
    async def refused() -> None:
        raise Conflict("The process counts as dead.")

    log = Log()
    writer = writing(log, confirm=refused)
    await writer.add(event(0))

    assert (writer.is_closed, log.batches) == (True, [])


@virtual_time
async def test_a_log_that_is_away_is_tried_again_every_half_second_for_ten_seconds() -> None:
    back, away = Log(*[StoreUnavailable("away")] * 20), Log(*[StoreUnavailable("away")] * 21)
    for log in (back, away):
        writer = writing(log)
        await writer.add(event(0))
        assert writer.is_closed is (log is away)

    assert (back.batches, away.batches) == ([1], [])
    assert [later - now for now, later in zip(back.times, back.times[1:], strict=False)] == [0.5] * 20


@virtual_time
async def test_a_turn_waits_where_2000_events_wait_for_the_log() -> None:
    log = Log(None, *[StoreUnavailable("away")] * 2)
    writer = writing(log, is_batched=True)
    loop = asyncio.get_running_loop()
    for number in range(2_001):
        await writer.add(event(number))
    before = loop.time()
    await writer.add(event(2_001))

    assert before < 0.5 <= loop.time()
    assert log.batches[0] == 1 and sum(log.batches) == 2_002


async def test_events_are_flushed_before_the_turn_goes_on() -> None:
    log = Log()
    writer = writing(log, is_batched=True)
    for number in range(3):
        await writer.add(event(number))
    await writer.flush()

    assert sum(log.batches) == 3
    await writer.close()


@virtual_time
async def test_events_whose_writing_was_cancelled_are_flushed() -> None:
    log = Log(StoreUnavailable("away"))
    writer = writing(log)
    adding = asyncio.ensure_future(writer.add(event(0)))
    await asyncio.sleep(0.1)
    adding.cancel()
    await asyncio.wait({adding})
    async with asyncio.timeout(PATIENCE):
        await writer.flush()

    assert log.batches == [1]
