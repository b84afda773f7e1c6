"""A process listens to the others for as long as it runs, whatever happens to a signal."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from hostedagent.engine import elsewhere
from hostedagent.engine.active import ActiveTurns
from hostedagent.engine.elsewhere import Elsewhere
from hostedagent.stores.base import Signal, StoreUnavailable
from hostedagent.stores.local import LocalSignals
from tests.patience import PATIENCE


class Interrupted(LocalSignals):
    """Signals of which the first ones cannot be received."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__(is_exclusive=True)
        self._errors = list(errors)

    async def receive(self) -> AsyncIterator[Signal]:
        if self._errors:
            raise self._errors.pop()
        yield Signal("queued", "", "")


async def test_signals_are_received_after_any_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "RETRY_SECONDS", 0.0)
    queued, heard = 0, asyncio.Event()

    def on_queued() -> None:
        nonlocal queued
        queued += 1
        if queued == 1:
            raise RuntimeError("x")
        heard.set()

    listening = Elsewhere(Interrupted(StoreUnavailable("away"), KeyError("x")), ActiveTurns())
    listening.on_queued = on_queued
    listening.open()
    async with asyncio.timeout(PATIENCE):
        await heard.wait()
    await listening.aclose()
