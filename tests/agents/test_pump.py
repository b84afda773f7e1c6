"""The pump: order, batches, back-pressure, errors, and every way of stopping."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator

import pytest

from hostedagent.agents.pump import READ_AHEAD, Pump, Silent, Start, Stopped


class Source:
    """Numbers, with a place to stand still."""

    def __init__(self, count: int, *, hold: bool = False, error: BaseException | None = None) -> None:
        self.made = 0
        self.cancelled = False
        self.tasks: set[str] = set()
        self._count = count
        self._hold = hold
        self._error = error

    async def __aiter__(self) -> AsyncIterator[int]:
        try:
            for n in range(self._count):
                self.tasks.add(str(id(asyncio.current_task())))
                self.made += 1
                yield n
            if self._hold:
                await asyncio.Event().wait()
            if self._error is not None:
                raise self._error
        except asyncio.CancelledError:
            self.cancelled = True
            raise


def at_once(stream: AsyncIterable[int]) -> Start[int]:
    async def start() -> AsyncIterable[int]:
        return stream

    return start


async def drain(pump: Pump[int]) -> list[int]:
    found: list[int] = []
    while (batch := await pump.batch()) is not None:
        assert 0 < len(batch) <= READ_AHEAD
        found += batch
    return found


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize("count", [0, 1, READ_AHEAD - 1, READ_AHEAD, READ_AHEAD + 1, 1000])
async def test_everything_arrives_in_order_from_one_task(count: int) -> None:
    source = Source(count)

    assert await drain(Pump(at_once(source))) == list(range(count))
    assert len(source.tasks) == min(count, 1)


async def test_it_reads_no_further_ahead_than_it_may() -> None:
    source = Source(1000)
    pump: Pump[int] = Pump(at_once(source))

    made = 0
    for count in (1, 2, 4, READ_AHEAD, READ_AHEAD):  # Whoever waits for the first waits for no other.
        assert await pump.batch() == list(range(made, made + count))
        made += count
        await settle()
        assert source.made == made
    await pump.stop()


async def test_where_nobody_waits_for_the_first_value_it_comes_with_more() -> None:
    pump: Pump[int] = Pump(at_once(Source(1000)), first=READ_AHEAD)

    assert await pump.batch() == list(range(READ_AHEAD))
    await pump.stop()


async def test_what_came_before_an_error_comes_first() -> None:
    pump: Pump[int] = Pump(at_once(Source(3, error=ValueError("no"))))

    assert [await pump.batch(), await pump.batch()] == [[0], [1, 2]]
    with pytest.raises(ValueError, match="no"):
        await pump.batch()


async def test_a_start_that_raises_raises_at_the_first_batch() -> None:
    async def start() -> Source:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Pump(start).batch()


@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError(),
        GeneratorExit(),
        SystemExit(3),
        KeyboardInterrupt(),
        BaseExceptionGroup("", [asyncio.CancelledError()]),
    ],
)
async def test_a_run_that_cancels_itself_or_exits_is_an_error_and_ends_nothing_else(error: BaseException) -> None:
    pump: Pump[int] = Pump(at_once(Source(0, error=error)))

    with pytest.raises(RuntimeError, match="cancelled itself"):
        await pump.batch()


async def test_patience_ends() -> None:
    source = Source(1, hold=True)
    pump: Pump[int] = Pump(at_once(source))

    assert await pump.batch(5) == [0]
    with pytest.raises(Silent):
        await pump.batch(0.001)
    await pump.stop()

    assert source.cancelled


async def test_patience_begins_with_the_stream() -> None:
    made = asyncio.Event()

    async def start() -> Source:
        await made.wait()
        return Source(1, hold=True)

    pump: Pump[int] = Pump(start)
    waiting = asyncio.create_task(pump.batch(1e-9))
    await settle()
    assert not waiting.done()

    made.set()
    with pytest.raises(Silent):
        await waiting
        await pump.batch(1e-9)
    await pump.stop()


@pytest.mark.parametrize("patience", [None, 30])
async def test_an_interrupt_wakes_a_consumer_that_waits_for_the_stream(patience: float | None) -> None:
    async def start() -> Source:
        await asyncio.Event().wait()
        raise AssertionError

    pump: Pump[int] = Pump(start)
    waiting = asyncio.create_task(pump.batch(patience))
    await settle()
    pump.interrupt("client")

    with pytest.raises(Stopped):
        await waiting
    await pump.stop()


async def test_an_interrupt_wakes_the_consumer_and_cancels_the_run() -> None:
    source = Source(1, hold=True)
    pump: Pump[int] = Pump(at_once(source))
    await pump.batch()
    waiting = asyncio.create_task(pump.batch())
    await settle()

    pump.interrupt("client")
    pump.interrupt("shutdown")

    with pytest.raises(Stopped) as stopped:
        await waiting
    assert stopped.value.cause == "client"
    await pump.stop()
    assert source.cancelled


async def test_an_interrupt_reaches_a_run_that_waits_for_its_reader() -> None:
    source = Source(1000)
    pump: Pump[int] = Pump(at_once(source))
    await settle()

    pump.interrupt("steered")

    with pytest.raises(Stopped):
        await pump.batch()
    await pump.stop()
    assert pump.rest() == [0]
    assert source.made == 1


async def test_stopping_waits_until_the_run_has_wound_up() -> None:
    wound_up = asyncio.Event()

    async def run() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            await settle()
            wound_up.set()

    pump: Pump[int] = Pump(at_once(run()))
    await pump.batch()
    waiting = asyncio.create_task(pump.batch())
    await settle()
    pump.interrupt("client")
    with pytest.raises(Stopped):
        await waiting
    await pump.stop()  # Not cancelled once more in the middle of winding up.

    assert wound_up.is_set()
    await pump.stop()


async def test_a_run_that_is_held_goes_on_when_what_it_said_was_dealt_with() -> None:
    done: list[str] = []

    async def work() -> None:
        done.append(f"written after {dealt_with}")

    source, dealt_with = Source(3), list[int]()
    pump = Pump[int](at_once(aiter(source)))
    pump.then = lambda value: work if value == 1 else None
    while (batch := await pump.batch()) is not None:
        dealt_with += batch
        await settle()
        if pump.is_held:
            assert source.made == 2
            await pump.let_go()

    assert (dealt_with, done) == ([0, 1, 2], ["written after [0, 1]"])


async def test_a_run_that_is_held_can_be_stopped() -> None:
    async def work() -> None:
        raise AssertionError("not here")

    source = Source(3)
    pump = Pump[int](at_once(aiter(source)))
    pump.then = lambda _: work
    assert await pump.batch() == [0]
    pump.interrupt("shutdown")

    with pytest.raises(Stopped):
        await pump.batch()
    await pump.stop()
    assert source.cancelled or source.made == 1
