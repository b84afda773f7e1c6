"""A turn waits for a slow reader, for no reader that has everything, and lets others run."""

from __future__ import annotations

import asyncio

import pytest

from hostedagent.engine.flow_control import FlowControl
from tests.virtual_time import virtual_time

AHEAD = 32
"""Events."""


async def nothing() -> None:
    pass


async def give(flow: FlowControl, times: int) -> None:
    for _ in range(times):
        await flow.give()


async def blocked(flow: FlowControl) -> asyncio.Task[None]:
    """A turn that has given one event too many."""
    await give(flow, AHEAD - 1)
    giving = asyncio.create_task(flow.give())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not giving.done()
    return giving


@virtual_time
async def test_a_turn_waits_at_32_events_until_its_reader_has_taken_one() -> None:
    flow = FlowControl()
    giving = await blocked(flow)
    await flow.send(nothing(), 0)
    assert not giving.done()
    await flow.send(nothing(), 1)
    await giving
    assert asyncio.get_running_loop().time() == 0


@virtual_time
async def test_events_that_were_taken_one_by_one_count_no_more() -> None:
    flow = FlowControl()
    for _ in range(3 * AHEAD):
        await flow.give()
        flow.taken()
    assert asyncio.get_running_loop().time() == 0


@virtual_time
async def test_a_reader_that_is_sent_nothing_is_waited_for_one_second() -> None:
    giving = await blocked(FlowControl())
    await giving
    assert asyncio.get_running_loop().time() == pytest.approx(1)


@virtual_time
async def test_a_reader_that_does_not_read_is_waited_for_as_long_as_it_takes() -> None:
    flow, reads = FlowControl(), asyncio.Event()

    async def slowly() -> None:
        await reads.wait()

    giving = await blocked(flow)
    sending = asyncio.create_task(flow.send(slowly(), AHEAD))
    await asyncio.sleep(60)
    assert not giving.done()
    reads.set()
    await asyncio.gather(giving, sending)


@virtual_time
async def test_a_send_that_fails_is_over() -> None:
    flow = FlowControl()

    async def fails() -> None:
        raise OSError("gone")

    giving = await blocked(flow)
    with pytest.raises(OSError, match="gone"):
        await flow.send(fails(), 1)
    await giving
    assert asyncio.get_running_loop().time() == pytest.approx(1)


@virtual_time
async def test_the_end_of_a_turn_ends_the_wait_for_good() -> None:
    flow = FlowControl()
    giving = await blocked(flow)
    flow.end()
    await giving
    await give(flow, 3 * AHEAD)
    assert asyncio.get_running_loop().time() == 0


@pytest.mark.parametrize("flow", [FlowControl(is_bounded=False), FlowControl(is_read=False)], ids=["stored", "whole"])
def test_a_turn_without_a_reader_waits_for_nobody(flow: FlowControl) -> None:
    @virtual_time
    async def test() -> None:
        await give(flow, 3 * AHEAD)
        assert asyncio.get_running_loop().time() == 0

    test()


async def test_others_run_after_the_third_event_and_after_every_sixteenth_that_follows() -> None:
    flow, yielded = FlowControl(is_bounded=False), list[int]()
    for number in range(1, 40):
        asyncio.get_running_loop().call_soon(yielded.append, number)
        before = len(yielded)
        await flow.give()
        if len(yielded) > before:
            yielded[before:] = [number]
    assert yielded == [3, 19, 35]


async def test_an_answer_that_nobody_reads_is_not_interrupted() -> None:
    flow, yielded = FlowControl(is_read=False), list[int]()
    asyncio.get_running_loop().call_soon(yielded.append, 1)
    await give(flow, 100)
    assert yielded == []
