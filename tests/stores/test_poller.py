"""A poller looks again, whatever happened at the last look: its process seems dead to others otherwise."""

import asyncio

import pytest

from hostedagent.stores.base import StoreUnavailable
from hostedagent.stores.poller import Poller
from tests.patience import PATIENCE


@pytest.mark.parametrize("error", [StoreUnavailable("away"), KeyError("scope"), RuntimeError("x")])
async def test_a_look_that_fails_is_repeated_and_reported_once(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    looks, enough = 0, asyncio.Event()

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 4:
            enough.set()
        raise error

    poller = Poller(look, seconds=0.001, wanted="things")
    poller.open()
    async with asyncio.timeout(PATIENCE):
        await enough.wait()
    await poller.aclose()

    assert len([row for row in caplog.records if "Looking for things failed" in row.getMessage()]) == 1
