"""The tables: created once, whoever comes first, and found by all others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from hostedagent.cli import main
from hostedagent.errors import ConfigurationError
from hostedagent.identity import Caller
from hostedagent.stores.base import Key, LoggedEvent, Write
from hostedagent.stores.factory import postgres_stores
from hostedagent.stores.postgres.migrations import MIGRATIONS, VERSION
from tests.postgres.server import postgres_dsn, schema

KEY = Key("session", "k")


@pytest.fixture(name="schema")
def fresh_schema() -> Iterator[str]:
    with schema() as name:
        yield name


def test_migrations_are_numbered_from_one_without_a_gap() -> None:
    assert [migration.version for migration in MIGRATIONS] == list(range(1, VERSION + 1))


def test_the_command_creates_the_tables_and_finds_them_afterwards(
    schema: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["migrate", "--dsn", postgres_dsn(), "--schema", schema]
    assert main(command) == 0
    applied = "".join(f"Applied {migration.version}: {migration.purpose}.\n" for migration in MIGRATIONS)
    assert capsys.readouterr().out == applied
    assert main(command) == 0
    assert capsys.readouterr().out == f"The tables in the schema {schema} are up to date.\n"


def test_the_command_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("HOSTEDAGENT_DSN", raising=False)
    assert main(["migrate"]) == 2
    assert "--dsn" in capsys.readouterr().err


async def test_a_schema_may_have_the_name_of_a_word_of_sql() -> None:
    stores = postgres_stores(postgres_dsn(), schema="order")
    try:
        await stores.aopen()
        await stores.state.write(Caller(), [Write(KEY, b"1")])
        assert stores.events is not None and stores.signals is not None
        await stores.events.append(Caller(), "r", [LoggedEvent(0, b"x")])
        assert await stores.events.read(Caller(), "r") == [LoggedEvent(0, b"x")]
    finally:
        await stores.aclose()
        with psycopg.connect(postgres_dsn(), autocommit=True) as connection:
            connection.execute('DROP SCHEMA IF EXISTS "order" CASCADE')


def test_the_name_of_a_schema_that_belongs_to_the_database_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="pg_"):
        postgres_stores(postgres_dsn(), schema="pg_agents")


async def test_replicas_that_start_at_once_create_the_tables_once(schema: str) -> None:
    replicas = [postgres_stores(postgres_dsn(), schema=schema, pool_size=1) for _ in range(5)]
    await asyncio.gather(*(replica.aopen() for replica in replicas))
    await replicas[0].state.write(Caller(), [Write(KEY, b"1")])
    assert [record.value for replica in replicas for record in await replica.state.read(Caller(), [KEY]) if record] == (
        [b"1"] * 5
    )
    for replica in replicas:
        await replica.aclose()


async def test_a_host_that_may_not_migrate_says_which_command_does(schema: str) -> None:
    stores = postgres_stores(postgres_dsn(), schema=schema, migrate=False)
    with pytest.raises(ConfigurationError, match="hostedagent migrate"):
        await stores.aopen()
    await stores.aclose()


async def test_a_role_that_may_only_use_the_tables_serves(schema: str) -> None:
    dsn = postgres_dsn()
    owner = postgres_stores(dsn, schema=schema)
    await owner.aopen()
    await owner.aclose()
    role = f"{schema}_role"
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in (
            f"CREATE ROLE {role} LOGIN",
            f"GRANT USAGE ON SCHEMA {schema} TO {role}",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
        ):
            connection.execute(statement.encode())
    stores = postgres_stores(make_conninfo(dsn, user=role), schema=schema)
    try:
        await stores.aopen()
        (etag,) = await stores.state.write(Caller(), [Write(KEY, b"1")])
        await stores.state.delete(Caller(), [KEY], expect=etag)
        assert not await stores.signals.is_dead(await stores.signals.name())
        assert await stores.signals.is_dead("never seen")
    finally:
        await stores.aclose()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


async def test_tables_of_a_later_version_are_used_as_they_are(schema: str) -> None:
    first = postgres_stores(postgres_dsn(), schema=schema)
    await first.aopen()
    await first.aclose()
    with psycopg.connect(postgres_dsn(), autocommit=True) as connection:
        connection.execute(f"INSERT INTO {schema}.migrations (version, purpose) VALUES (999, 'later')".encode())
        connection.execute(f"ALTER TABLE {schema}.records ADD COLUMN later text DEFAULT 'x'".encode())
    stores = postgres_stores(postgres_dsn(), schema=schema)
    await stores.state.write(Caller(), [Write(KEY, b"1")])
    (record,) = await stores.state.read(Caller(), [KEY])
    assert record is not None and record.value == b"1"
    await stores.aclose()
