"""A call that is cancelled ends, at whatever moment: what waits for a connection of the pool included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hostedagent.stores.postgres.database import Database
from hostedagent.stores.postgres.settings import PostgresSettings
from tests.patience import PATIENCE
from tests.postgres.server import postgres_dsn, schema

WAITING = 12
"""More calls than connections, so that some are cancelled as a connection comes to them."""


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    with schema() as name:
        database = Database(PostgresSettings(dsn=postgres_dsn(), schema=name, pool_size=2))
        yield database
        await database.aclose()


async def _reads_for_ever(database: Database) -> None:
    while True:
        await database.rows("SELECT 1", repeats=True)


async def test_a_cancelled_reader_stops_at_any_moment(database: Database) -> None:
    await database.open()
    for steps in range(60):
        readers = [asyncio.create_task(_reads_for_ever(database)) for _ in range(WAITING)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for reader in readers:
            reader.cancel()
        ended, running = await asyncio.wait(readers, timeout=PATIENCE)
        assert not running
        assert all(reader.cancelled() for reader in ended)
    assert await database.rows("SELECT 1") == [(1,)]
