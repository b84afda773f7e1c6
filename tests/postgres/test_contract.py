"""PostgreSQL passes every contract of a store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from hostedagent.stores.base import EventLog, ResponseRepository, Signals, Store
from hostedagent.stores.postgres.database import Database
from hostedagent.stores.postgres.event_log import PostgresEventLog
from hostedagent.stores.postgres.settings import PostgresSettings
from hostedagent.stores.postgres.signals import PostgresSignals
from hostedagent.stores.postgres.store import PostgresStore
from hostedagent.stores.responses import StoredResponses
from hostedagent.testing.event_log_contract import EventLogContract
from hostedagent.testing.responses_contract import ResponseRepositoryContract
from hostedagent.testing.signals_contract import EndOther, SignalsContract
from hostedagent.testing.store_contract import PassTime, StoreContract
from tests.postgres.server import postgres_dsn, schema

TTL = 100.0


@pytest.fixture(name="schema")
def fresh_schema() -> Iterator[str]:
    with schema() as name:
        yield name


@pytest.fixture
async def database(schema: str) -> AsyncIterator[Database]:
    database = Database(PostgresSettings(dsn=postgres_dsn(), schema=schema, pool_size=4, retention=TTL))
    yield database
    await database.aclose()


@pytest.fixture
async def second(database: Database) -> AsyncIterator[Database]:
    second = Database(database.settings)
    yield second
    await second.aclose()


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def store(self, database: Database) -> Store:
        return PostgresStore(database)

    @pytest.fixture
    def other(self, second: Database) -> Store:
        return PostgresStore(second)

    @pytest.fixture
    def pass_time(self, database: Database) -> PassTime:
        def pass_time(fraction: float) -> None:
            """Move every record towards its end: the clock is the database's."""
            settings = database.settings
            with psycopg.connect(settings.dsn, autocommit=True) as connection:
                connection.execute(
                    f"UPDATE {settings.schema}.records SET expires_at = expires_at - %s * interval '1 s'".encode(),
                    (fraction * TTL,),
                )

        return pass_time


class TestPostgresEventLog(EventLogContract):
    @pytest.fixture
    async def log(self, database: Database) -> AsyncIterator[EventLog]:
        signals = PostgresSignals(database)
        yield PostgresEventLog(database, signals.listener)
        await signals.aclose()

    @pytest.fixture
    async def other(self, second: Database) -> AsyncIterator[EventLog]:
        signals = PostgresSignals(second)
        yield PostgresEventLog(second, signals.listener)
        await signals.aclose()


class TestPostgresSignals(SignalsContract):
    @pytest.fixture
    async def signals(self, database: Database) -> AsyncIterator[Signals]:
        signals = PostgresSignals(database)
        yield signals
        await signals.aclose()

    @pytest.fixture
    async def other(self, second: Database) -> AsyncIterator[PostgresSignals]:
        signals = PostgresSignals(second)
        yield signals
        await signals.aclose()

    @pytest.fixture
    def end_other(self, other: PostgresSignals) -> EndOther:
        return other.aclose


class TestResponsesInPostgres(ResponseRepositoryContract):
    @pytest.fixture
    def repository(self, database: Database) -> ResponseRepository:
        return StoredResponses(PostgresStore(database))

    @pytest.fixture
    def other(self, second: Database) -> ResponseRepository:
        return StoredResponses(PostgresStore(second))
