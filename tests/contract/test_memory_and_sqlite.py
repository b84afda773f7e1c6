from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hostedagent.stores.base import Store
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.sqlite import SqliteStore
from hostedagent.testing.store_contract import PassTime, StoreContract
from tests.contract.conftest import TTL, Clock


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self, clock: Clock) -> Store:
        return MemoryStore(retention=TTL, clock=clock)

    @pytest.fixture
    def pass_time(self, clock: Clock) -> PassTime:
        return clock.advance


class TestSqliteStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
        async with SqliteStore(tmp_path / "state.db", retention=TTL, clock=clock) as store:
            yield store

    @pytest.fixture
    def pass_time(self, clock: Clock) -> PassTime:
        return clock.advance
