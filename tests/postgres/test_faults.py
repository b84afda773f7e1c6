"""A database that is away, refuses, or is behind a pooler: what callers get, and what happens when it answers again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from hostedagent import AgentHost
from hostedagent.errors import ConfigurationError
from hostedagent.identity import Caller
from hostedagent.stores.base import Key, LoggedEvent, StoreUnavailable, Write
from hostedagent.stores.factory import Stores, postgres_stores
from hostedagent.stores.postgres import listener
from hostedagent.stores.postgres import settings as connecting
from hostedagent.stores.postgres.database import Database
from hostedagent.stores.postgres.settings import PostgresSettings
from hostedagent.testing import ScriptedAgent, serve
from tests.patience import PATIENCE
from tests.postgres.relay import Relay, insist, relay
from tests.postgres.server import postgres_dsn, schema

KEY = Key("session", "k")
PASSWORD = "hunter2-4711"


@pytest.fixture(name="schema")
def fresh_schema() -> Iterator[str]:
    with schema() as name:
        yield name


@asynccontextmanager
async def opened(dsn: str, schema: str, *, seconds: float = 10.0) -> AsyncGenerator[Stores]:
    stores = postgres_stores(dsn, schema=schema, timeout=seconds, pool_size=3)
    try:
        yield stores
    finally:
        await stores.aclose()


async def until_stored(stores: Stores, value: bytes) -> None:
    await insist(lambda: stores.state.write(Caller(), [Write(KEY, value)]))


# --- away


async def test_a_database_that_is_away_is_unavailable_and_used_again_when_it_answers(schema: str) -> None:
    async with relay() as network, opened(network.dsn, schema, seconds=1.0) as stores:
        await until_stored(stores, b"1")
        network.cut()
        with pytest.raises(StoreUnavailable):
            await stores.state.write(Caller(), [Write(KEY, b"2")])
        with pytest.raises(StoreUnavailable):
            await stores.state.read(Caller(), [KEY])
        network.mend()
        await until_stored(stores, b"3")
        (record,) = await insist(lambda: stores.state.read(Caller(), [KEY]))
        assert record is not None and record.value == b"3"


async def test_a_database_that_accepts_connections_and_answers_nothing_is_unavailable(
    schema: str,
) -> None:
    async with relay() as network, opened(network.dsn, schema, seconds=0.2) as stores:
        assert stores.signals is not None
        network.is_silent = True
        for call in (lambda: stores.state.read(Caller(), [KEY]), stores.signals.name):
            async with asyncio.timeout(PATIENCE):
                with pytest.raises(StoreUnavailable):
                    await call()
        network.is_silent = False
        await until_stored(stores, b"1")
        async with asyncio.timeout(PATIENCE):
            assert await insist(stores.signals.name)


async def test_a_statement_that_is_not_answered_in_time_is_not_waited_for_any_longer(
    schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled: list[dict[str, float]] = []

    async def cancel(connection: psycopg.AsyncConnection[Any], **limits: float) -> None:
        cancelled.append(limits)  # So many seconds, and as many again until psycopg gives up.

    monkeypatch.setattr(psycopg.AsyncConnection, "cancel_safe", cancel)
    async with relay() as network, opened(network.dsn, schema, seconds=0.2) as stores:
        network.is_silent = True
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await stores.state.read(Caller(), [KEY])
        network.is_silent = False
        await until_stored(stores, b"1")

    assert cancelled == []


async def test_connections_that_ended_while_nobody_used_them_fail_no_call(schema: str) -> None:
    async with opened(postgres_dsn(), schema) as stores:
        await asyncio.gather(*(stores.state.read(Caller(), [KEY]) for _ in range(20)))
        with psycopg.connect(postgres_dsn(), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE application_name = 'hostedagent' AND query LIKE %s",
                (f"%{schema}%",),
            )
        for value in (b"1", b"2", b"3", b"4"):
            await stores.state.write(Caller(), [Write(KEY, value)])


async def test_a_host_starts_without_its_database_and_serves_when_it_answers(schema: str) -> None:
    async with relay() as network:
        network.cut()
        stores = postgres_stores(network.dsn, schema=schema, timeout=1.0)
        async with serve(AgentHost(ScriptedAgent(*["hello"] * 99), stores=stores).app) as client:
            assert (await client.post("/responses", json={"input": "hi"})).status >= 500
            network.mend()
            await until_stored(stores, b"1")
            while (reply := await client.post("/responses", json={"input": "hi"})).status == 503:
                pass
            assert reply.status == 200


async def test_a_follower_waits_for_a_database_that_was_away_and_misses_nothing(schema: str) -> None:
    events = [LoggedEvent(number, b"%d" % number) for number in range(4)]
    async with relay() as network, opened(postgres_dsn(), schema) as writer, opened(network.dsn, schema) as reader:
        log, follower = writer.events, reader.events
        assert log is not None and follower is not None
        await log.append(Caller(), "r", events[:1])
        seen: list[LoggedEvent] = []
        first = asyncio.Event()

        async def follow() -> None:
            async for batch in follower.subscribe(Caller(), "r"):
                seen.extend(batch)
                first.set()

        task = asyncio.ensure_future(follow())
        async with asyncio.timeout(PATIENCE):
            await first.wait()
            network.cut()
            await log.append(Caller(), "r", events[1:])
            await log.finish(Caller(), "r")
            network.mend()
            await task
        assert seen == events


async def test_waiting_in_vain_for_a_database_leaves_no_task_behind(schema: str) -> None:
    async with relay() as network, opened(network.dsn, schema, seconds=0.2) as stores:
        network.is_silent = True
        with pytest.raises(StoreUnavailable):
            await stores.signals.name()
        before = asyncio.all_tasks()
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await stores.signals.name()
        await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() - before if "Event.wait" in repr(task.get_coro())]
        assert left == []


# --- liveness


async def cut_and_mended(network: Relay, stores: Stores) -> None:
    """Let a process lose its connection and get it again."""
    network.cut()
    network.mend()
    await insist(stores.signals.name)
    await insist(lambda: stores.signals.is_dead("x"))


async def test_a_process_that_nobody_missed_keeps_its_name(schema: str) -> None:
    async with relay() as network, opened(network.dsn, schema) as one, opened(postgres_dsn(), schema) as two:
        name = await one.signals.name()
        await cut_and_mended(network, one)
        assert await one.signals.name() == name
        assert not await two.signals.is_dead(name)


async def test_a_process_that_was_found_dead_gets_a_new_name(schema: str) -> None:
    async with relay() as network, opened(network.dsn, schema) as one, opened(postgres_dsn(), schema) as two:
        name = await one.signals.name()
        await two.signals.name()
        network.cut()
        async with asyncio.timeout(PATIENCE):
            while not await two.signals.is_dead(name):  # noqa: ASYNC110 - there is no event for a death
                await asyncio.sleep(0)
        await cut_and_mended(network, one)
        renamed = await one.signals.name()
        assert renamed != name
        assert [await two.signals.is_dead(name), await two.signals.is_dead(renamed)] == [True, False]


async def test_a_process_that_was_cut_off_itself_finds_nobody_dead_at_once(
    schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relay() as network, opened(network.dsn, schema) as one, opened(postgres_dsn(), schema) as two:
        name = await two.signals.name()
        await one.signals.name()
        await cut_and_mended(network, one)
        await two.aclose()
        assert not await one.signals.is_dead(name)
        monkeypatch.setattr(listener, "GRACE_SECONDS", 0.0)
        async with asyncio.timeout(PATIENCE):
            while not await one.signals.is_dead(name):  # noqa: ASYNC110 - there is no event for a death
                await asyncio.sleep(0)


# --- what cannot work


@pytest.mark.parametrize(
    "dsn",
    [f"postgresql://ann:{PASSWORD}@host:no-port/db?nothing=1", f"password={PASSWORD} 'x", f"{PASSWORD}"],
)
def test_a_dsn_that_cannot_be_read_is_refused_without_its_text(dsn: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        postgres_stores(dsn)
    assert PASSWORD not in str(caught.value) and caught.value.__suppress_context__


@pytest.mark.parametrize("name", ["", "Upper", "a b", 'a"; DROP', "1a", "a" * 41])
def test_a_schema_that_is_no_plain_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="schema"):
        postgres_stores("postgresql://host/db", schema=name)


async def test_a_database_that_does_not_exist_is_a_mistake_and_nothing_names_the_password(
    schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    dsn = make_conninfo(postgres_dsn(), dbname="no_such_database", password=PASSWORD)
    async with opened(dsn, schema) as stores:
        with pytest.raises(ConfigurationError) as caught:
            await stores.aopen()
        with pytest.raises(ConfigurationError):
            await stores.state.read(Caller(), [KEY])
    assert PASSWORD not in str(caught.value)
    assert PASSWORD not in caplog.text


async def test_a_pooler_in_front_of_the_direct_connection_is_refused(
    schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_pooled(connection: object) -> bool:
        return True

    monkeypatch.setattr(connecting, "is_pooled", is_pooled)
    async with opened(postgres_dsn(), schema) as stores:
        with pytest.raises(ConfigurationError, match="direct_dsn"):
            await stores.aopen()


@pytest.mark.parametrize("given", [{"timeout": 0.0}, {"pool_size": 0}])
def test_a_timeout_or_a_pool_of_nothing_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="must be positive"):
        postgres_stores("postgresql://db.example", **given)


async def test_a_statement_that_takes_too_long_ends(schema: str) -> None:
    database = Database(PostgresSettings(dsn=postgres_dsn(), schema=schema, timeout=0.5))
    await insist(database.open)
    with pytest.raises(StoreUnavailable):
        await database.rows("SELECT pg_sleep(600)")
    assert await insist(lambda: database.rows("SELECT 1")) == [(1,)]
    await database.aclose()


async def test_what_has_expired_is_erased(schema: str) -> None:
    database = Database(PostgresSettings(dsn=postgres_dsn(), schema=schema))
    async with opened(postgres_dsn(), schema) as stores:
        assert stores.events is not None
        await stores.state.write(Caller(), [Write(Key("item", f"{n}"), b"x", ttl=n % 2 * 86400.0) for n in range(10)])
        await stores.events.append(Caller(), "r", [LoggedEvent(0, b"x")])
        with psycopg.connect(postgres_dsn(), autocommit=True) as connection:
            connection.execute(f"UPDATE {schema}.records SET expires_hour = expires_hour - 2".encode())
            connection.execute(f"UPDATE {schema}.event_logs SET expires_at = now() - interval '1 s'".encode())
            await database.sweep()
            left = [
                connection.execute(f"SELECT count(*) FROM {schema}.{table}".encode()).fetchone()
                for table in ("records", "event_logs", "events")
            ]
    await database.aclose()
    assert left == [(5,), (0,), (0,)]


async def test_ended_streams_are_erased_a_few_at_a_time_however_many_they_are(schema: str) -> None:
    database = Database(PostgresSettings(dsn=postgres_dsn(), schema=schema))
    await insist(database.open)
    with psycopg.connect(postgres_dsn(), autocommit=True) as connection:
        for statement in (
            "INSERT INTO {schema}.event_logs SELECT sha256(n::text::bytea), true, now() - interval '1 s' "
            "FROM generate_series(1, 35) n",
            "INSERT INTO {schema}.events SELECT key, n, 'x' FROM {schema}.event_logs, generate_series(1, 15) n",
            "INSERT INTO {schema}.event_logs SELECT sha256(n::text::bytea), true, now() - interval '1 s' "
            "FROM generate_series(36, 70) n",
            "CREATE FUNCTION {schema}.few() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF (SELECT count(*) FROM gone) > 300 THEN RAISE 'too many at once'; END IF; RETURN NULL; END $$",
            "CREATE TRIGGER few AFTER DELETE ON {schema}.events REFERENCING OLD TABLE AS gone "
            "FOR EACH STATEMENT EXECUTE FUNCTION {schema}.few()",
        ):
            connection.execute(statement.replace("{schema}", schema).encode())
        await database.sweep()
        left = [
            connection.execute(f"SELECT count(*) FROM {schema}.{table}".encode()).fetchone()
            for table in ("event_logs", "events")
        ]
    await database.aclose()
    assert left == [(0,), (0,)]
