"""Every repository of responses passes the contract: over memory, over SQLite, over Foundry's state store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hostedagent.emulator import Emulator
from hostedagent.stores.base import ResponseRepository, Store
from hostedagent.stores.foundry.store import FoundryStore
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.responses import StoredResponses
from hostedagent.stores.sqlite import SqliteStore
from hostedagent.testing.responses_contract import ResponseRepositoryContract


class Stored(ResponseRepositoryContract):
    @pytest.fixture
    def repository(self, store: Store) -> ResponseRepository:
        return StoredResponses(store)

    @pytest.fixture
    def other(self, store: Store) -> ResponseRepository:
        return StoredResponses(store)


class TestInMemory(Stored):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestInSqlite(Stored):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        async with SqliteStore(tmp_path / "state.db") as store:
            yield store


class TestInFoundrysStateStore(Stored):
    many = 10

    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        async with (
            Emulator() as emulator,
            FoundryStore(endpoint=emulator.endpoint, credential=emulator.credential, ca_file=emulator.ca_file) as store,
        ):
            yield store
