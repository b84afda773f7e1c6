# ruff: noqa: D102 (the names of the tests are their sentences)
"""The contract of an `EventLog` as a test suite: subclass it, provide your log, and run pytest.

Override the fixture `log`; and `other`, a second log over the same data as another process would have one, or the tests
that need it are skipped. This needs pytest-asyncio in auto mode.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Final, cast

import pytest

from hostedagent.identity import Caller, Scope
from hostedagent.stores.base import EventLog, ExclusiveEventLog, LoggedEvent, StoreConflict, StoreNotFound

ADA: Final = Caller(Scope("user:ada"))
BOB: Final = Caller(Scope("user:bob"))
CHAT: Final = Caller(Scope("user:ada", "chat"))

R: Final = "caresp_1"
SECONDS: Final = 120.0
"""Seconds that a test waits for an expected event."""


def events(numbers: Iterable[int], text: str = "event") -> list[LoggedEvent]:
    """Events with these numbers."""
    return [LoggedEvent(number, f"{text} {number}".encode()) for number in numbers]


class Follower:
    """A subscriber that collects in its own task."""

    def __init__(self, log: EventLog, caller: Caller = ADA, *, after: int = -1) -> None:
        self.seen: list[LoggedEvent] = []
        self._grown = asyncio.Event()
        self._batches = log.subscribe(caller, R, after=after)
        self._task = asyncio.ensure_future(self._collect())

    async def _collect(self) -> None:
        async with aclosing(cast("AsyncGenerator[list[LoggedEvent]]", self._batches)) as batches:
            async for batch in batches:
                self.seen.extend(batch)
                self._grown.set()

    async def until(self, number: int) -> list[LoggedEvent]:
        """The events so far, once they include the one with this number."""
        async with asyncio.timeout(SECONDS):
            while not self.seen or self.seen[-1].number < number:
                self._grown.clear()
                await self._grown.wait()
        return self.seen

    async def ended(self) -> list[LoggedEvent]:
        """All events, once the subscription has ended."""
        async with asyncio.timeout(SECONDS):
            await self._task
        return self.seen

    async def leave(self) -> None:
        """Stop following."""
        self._task.cancel()
        await asyncio.wait((self._task,))


class EventLogContract:
    """The guarantees of every `EventLog`. Subclass it with a fixture `log`; see the module."""

    pytestmark = pytest.mark.asyncio

    many = 2_000
    """Events of a long log; override it with fewer for a slow one."""

    @pytest.fixture
    def log(self) -> EventLog:
        """The log under test, empty."""
        raise NotImplementedError("Override the fixture `log`.")

    @pytest.fixture
    def other(self) -> EventLog | None:
        """A second log over the same data; `None` skips the tests that need it."""
        return None

    # --- append and read

    async def test_events_are_read_in_order_as_they_were_appended(self, log: EventLog) -> None:
        first, second = events(range(3)), events(range(3, 5))
        await log.append(ADA, R, first)
        await log.append(ADA, R, second)
        assert await log.read(ADA, R) == [*first, *second]

    async def test_only_the_events_after_a_number_are_read(self, log: EventLog) -> None:
        await log.append(ADA, R, events(range(5)))
        assert await log.read(ADA, R, after=2) == events([3, 4])
        assert await log.read(ADA, R, after=4) == []
        assert await log.read(ADA, R, after=99) == []

    async def test_any_bytes_come_back_exactly(self, log: EventLog) -> None:
        data = [b"", b"\x00\xff", bytes(range(256)), "Grüße 👩‍👩‍👧\u2028".encode(), b"x" * 1_000_000]
        logged = [LoggedEvent(number, value) for number, value in enumerate(data)]
        await log.append(ADA, R, logged)
        assert await log.read(ADA, R) == logged

    async def test_numbers_may_have_gaps_and_be_large(self, log: EventLog) -> None:
        logged = events([3, 10, 2**40])
        await log.append(ADA, R, logged)
        assert await log.read(ADA, R, after=3) == logged[1:]

    async def test_an_event_that_is_present_already_is_skipped(self, log: EventLog) -> None:
        await log.append(ADA, R, events(range(3)))
        await log.append(ADA, R, events(range(1, 5), "again"))
        assert await log.read(ADA, R) == [*events(range(3)), *events([3, 4], "again")]

    async def test_an_append_of_nothing_creates_the_log(self, log: EventLog) -> None:
        await log.append(ADA, R, [])
        assert await log.read(ADA, R) == []

    async def test_a_long_log_is_read_whole(self, log: EventLog) -> None:
        logged = events(range(self.many))
        for start in range(0, self.many, 100):
            await log.append(ADA, R, logged[start : start + 100])
        await log.finish(ADA, R)
        assert await log.read(ADA, R) == logged
        assert await Follower(log).ended() == logged

    async def test_a_cancelled_append_happened_or_did_not(self, log: EventLog) -> None:
        await log.append(ADA, R, [])
        for turns in range(12):
            two = events([2 * turns, 2 * turns + 1])
            task = asyncio.ensure_future(log.append(ADA, R, two))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await log.read(ADA, R, after=2 * turns - 1) in ([], two)
            await log.append(ADA, R, two)
        assert await log.read(ADA, R) == events(range(24))

    # --- what does not exist

    async def test_events_of_a_response_without_a_log_are_not_found(self, log: EventLog) -> None:
        with pytest.raises(StoreNotFound):
            await log.read(ADA, R)
        with pytest.raises(StoreNotFound):
            await Follower(log).ended()

    async def test_finishing_or_deleting_what_does_not_exist_does_nothing(self, log: EventLog) -> None:
        await log.finish(ADA, R)
        await log.delete(ADA, R)
        with pytest.raises(StoreNotFound):
            await log.read(ADA, R)

    async def test_a_deleted_log_is_gone_and_another_may_follow(self, log: EventLog) -> None:
        await log.append(ADA, R, events(range(3)))
        await log.finish(ADA, R)
        await log.delete(ADA, R)
        with pytest.raises(StoreNotFound):
            await log.read(ADA, R)
        await log.append(ADA, R, events([0], "new"))
        assert await log.read(ADA, R) == events([0], "new")

    async def test_a_log_is_found_in_its_own_scope_only(self, log: EventLog) -> None:
        await log.append(ADA, R, events(range(2)))
        for caller in (BOB, CHAT):
            with pytest.raises(StoreNotFound):
                await log.read(caller, R)
            with pytest.raises(StoreNotFound):
                await Follower(log, caller).ended()
            await log.finish(caller, R)
            await log.delete(caller, R)
        await log.append(BOB, R, events([7], "of bob"))
        assert await log.read(ADA, R) == events(range(2))
        assert await log.read(BOB, R) == events([7], "of bob")

    # --- subscribers

    async def test_a_subscriber_gets_what_exists_and_what_follows_until_the_log_is_finished(
        self, log: EventLog
    ) -> None:
        await log.append(ADA, R, events([0, 1]))
        follower = Follower(log)
        await follower.until(1)
        for number in (2, 3):
            await log.append(ADA, R, events([number]))
            await follower.until(number)
        await log.append(ADA, R, events([4]))
        await log.finish(ADA, R)
        assert await follower.ended() == events(range(5))

    async def test_a_subscriber_resumes_after_its_last_event(self, log: EventLog) -> None:
        await log.append(ADA, R, events(range(4)))
        follower = Follower(log, after=2)
        await follower.until(3)
        await log.append(ADA, R, events([4]))
        await log.finish(ADA, R)
        assert await follower.ended() == events([3, 4])

    async def test_a_subscriber_of_a_finished_log_gets_the_rest_and_ends(self, log: EventLog) -> None:
        await log.append(ADA, R, events(range(3)))
        await log.finish(ADA, R)
        await log.finish(ADA, R)
        assert await Follower(log, after=0).ended() == events([1, 2])
        assert await Follower(log, after=2).ended() == []

    async def test_a_subscriber_that_is_ahead_waits_for_later_events(self, log: EventLog) -> None:
        await log.append(ADA, R, events([0]))
        follower = Follower(log, after=1)
        await log.append(ADA, R, events([1, 2]))
        await log.finish(ADA, R)
        assert await follower.ended() == events([2])

    async def test_deleting_a_log_ends_its_subscribers(self, log: EventLog) -> None:
        await log.append(ADA, R, events([0]))
        follower = Follower(log)
        await follower.until(0)
        await log.delete(ADA, R)
        assert await follower.ended() == events([0])

    async def test_many_subscribers_get_the_same_events(self, log: EventLog) -> None:
        await log.append(ADA, R, events([0]))
        followers = [Follower(log) for _ in range(8)]
        for number in range(1, 40):
            await log.append(ADA, R, events([number]))
        await log.finish(ADA, R)
        assert [await follower.ended() for follower in followers] == [events(range(40))] * 8

    async def test_subscribers_that_leave_or_do_not_read_delay_nobody(self, log: EventLog) -> None:
        await log.append(ADA, R, events([0]))
        leaving, staying = Follower(log), Follower(log)
        slow: AsyncIterator[list[LoggedEvent]] = log.subscribe(ADA, R)
        async with aclosing(cast("AsyncGenerator[list[LoggedEvent]]", slow)):
            assert await anext(slow) == events([0])
            await leaving.until(0)
            await leaving.leave()
            async with asyncio.timeout(SECONDS):
                for number in range(1, 200):
                    await log.append(ADA, R, events([number]))
                await log.finish(ADA, R)
            assert await staying.ended() == events(range(200))
            rest = [event async for batch in slow for event in batch]
        assert rest == events(range(1, 200))

    # --- other processes

    async def test_a_second_log_reads_and_follows_the_same_events(self, log: EventLog, other: EventLog | None) -> None:
        if other is None:
            pytest.skip("no second log over the same data")
        await log.append(ADA, R, events(range(3)))
        assert await other.read(ADA, R, after=0) == events([1, 2])
        follower = Follower(other)
        await follower.until(2)
        for number in range(3, 30):
            await log.append(ADA, R, events([number]))
            await follower.until(number)
        await log.finish(ADA, R)
        assert await follower.ended() == events(range(30))

    async def test_a_second_log_writes_where_the_first_ended(self, log: EventLog, other: EventLog | None) -> None:
        if other is None:
            pytest.skip("no second log over the same data")
        await log.append(ADA, R, events(range(3)))
        follower = Follower(log)
        await follower.until(2)
        await other.append(ADA, R, events(range(2, 5)))
        await other.finish(ADA, R)
        assert await follower.ended() == events(range(5))
        await other.delete(ADA, R)
        with pytest.raises(StoreNotFound):
            await log.read(ADA, R)

    # --- other writers

    @pytest.fixture
    def exclusive(self, log: EventLog) -> ExclusiveEventLog:
        """The log, if it refuses the events of another writer."""
        if not isinstance(log, ExclusiveEventLog):
            pytest.skip("the log does not refuse the events of another writer: it has no `extend`")
        return log

    @pytest.fixture
    def winner(self, log: EventLog, other: EventLog | None) -> EventLog:
        """The writer that is first."""
        return other if other is not None else log

    async def test_a_log_is_extended_and_repeated_events_are_skipped(
        self, log: EventLog, exclusive: ExclusiveEventLog
    ) -> None:
        await exclusive.extend(ADA, R, events(range(2)))
        await exclusive.extend(ADA, R, events(range(2, 4)))
        await exclusive.extend(ADA, R, events(range(1, 6)))  # Again, because an answer was lost.
        assert await log.read(ADA, R) == events(range(6))

    async def test_a_writer_whose_number_another_has_used_adds_nothing(
        self, log: EventLog, exclusive: ExclusiveEventLog, winner: EventLog
    ) -> None:
        await exclusive.extend(ADA, R, events([0]))
        await winner.append(ADA, R, events([1, 2], "winner"))
        for numbers in ([1], [1, 2, 3], [2, 3]):
            with pytest.raises(StoreConflict):
                await exclusive.extend(ADA, R, events(numbers, "loser"))
        assert await log.read(ADA, R) == [*events([0]), *events([1, 2], "winner")]
        await winner.append(ADA, R, events([3], "winner"))
        await winner.finish(ADA, R)
        assert await Follower(log, after=1).ended() == events([2, 3], "winner")
