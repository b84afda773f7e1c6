from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hostedagent.stores.base import StateStore
from hostedagent.stores.file import FileStateStore
from hostedagent.stores.memory import MemoryStateStore
from hostedagent.testing.store_contract import PassTime, StateStoreContract

TTL = 100.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, fraction: float) -> None:
        self.now += fraction * TTL


@pytest.fixture
def clock() -> Clock:
    return Clock()


class TestMemoryStateStore(StateStoreContract):
    @pytest.fixture
    def store(self, clock: Clock) -> StateStore:
        return MemoryStateStore(ttl=TTL, clock=clock)

    @pytest.fixture
    def pass_time(self, clock: Clock) -> PassTime:
        return clock.advance


class TestFileStateStore(StateStoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path, clock: Clock) -> AsyncIterator[StateStore]:
        async with FileStateStore(tmp_path / "state", ttl=TTL, clock=clock) as store:
            yield store

    @pytest.fixture
    async def other(self, tmp_path: Path, clock: Clock) -> AsyncIterator[StateStore]:
        async with FileStateStore(tmp_path / "state", ttl=TTL, clock=clock) as store:
            yield store

    @pytest.fixture
    def pass_time(self, clock: Clock) -> PassTime:
        return clock.advance
