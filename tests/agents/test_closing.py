"""Closing the agent of a turn: bounded in time, and without consequences for how the turn has ended."""

from __future__ import annotations

import asyncio

import pytest

from hostedagent.agents.source import close
from tests.virtual_time import virtual_time


class Hanging:
    """An agent whose `close` does not return, and ends when it is cancelled if it may."""

    def __init__(self, cancellations: int) -> None:
        self.ignored = cancellations

    async def close(self) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not self.ignored:
                    raise
                self.ignored -= 1


@pytest.mark.parametrize(("ignored", "seconds"), [(0, 10.0), (1, 20.0)])
@virtual_time
async def test_an_agent_that_does_not_close_is_given_up(
    ignored: int, seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    await close(Hanging(ignored))

    assert asyncio.get_running_loop().time() == seconds
    assert "Closing the agent failed" in caplog.text
