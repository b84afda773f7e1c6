"""What a DSN and the settings of a role or database may be: values that cannot work, and values that change nothing."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from azure.core.credentials import AccessToken
from psycopg.conninfo import make_conninfo

from hostedagent.errors import ConfigurationError
from hostedagent.identity import Caller
from hostedagent.stores.base import Key, StoreUnavailable, Write
from hostedagent.stores.factory import postgres_stores
from hostedagent.stores.postgres.database import Database
from hostedagent.stores.postgres.settings import PostgresSettings
from tests.postgres.server import postgres_dsn, schema

SECRET = "hunter2-4711"
KEY = Key("session", "k")


@pytest.fixture(name="schema")
def fresh_schema() -> Iterator[str]:
    with schema() as name:
        yield name


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://ann:p@{SECRET}@db.example/agents",
        f"postgresql://ann:{SECRET}/x@db.example/agents",
        f"host=a,b@{SECRET} dbname=agents",
        f"host=a port=5432,{SECRET}",
        "postgresql://db.example\udc80/agents",
        None,
    ],
    ids=["@", "/", "second host", "second port", "not text", "none"],
)
def test_a_password_that_libpq_takes_for_a_host_or_a_port_is_refused_without_its_text(dsn: str) -> None:
    with pytest.raises(ConfigurationError, match="not a DSN") as caught:
        postgres_stores(dsn)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "option",
    [
        {"sslmode": "verify_full"},
        {"target_session_attrs": "primaryy"},
        {"connect_timeout": "x"},
        {"service": "nowhere"},
    ],
    ids=str,
)
async def test_a_value_that_will_never_work_is_a_mistake(schema: str, option: dict[str, str]) -> None:
    stores = postgres_stores(make_conninfo(postgres_dsn(), **option), schema=schema)
    with pytest.raises(ConfigurationError):
        await stores.aopen()
    await stores.aclose()


async def test_the_log_names_the_reason_for_which_a_database_cannot_be_reached(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stores = postgres_stores("host=/nowhere/at/all dbname=agents", timeout=0.2)
    with caplog.at_level(logging.INFO), pytest.raises(StoreUnavailable):
        await stores.aopen()
    await stores.aclose()
    assert "/nowhere/at/all" in caplog.text and "Traceback" not in caplog.text


async def test_a_database_that_is_read_only_is_named_as_that(schema: str) -> None:
    read_only = make_conninfo(postgres_dsn(), options="-c default_transaction_read_only=on")
    database = Database(PostgresSettings(dsn=read_only, schema=schema))
    with pytest.raises(StoreUnavailable, match="target_session_attrs=read-write"):
        await database.migrate()


@pytest.mark.parametrize(("given", "used"), [(None, "require"), ("verify-full", None)])
async def test_a_credential_lowers_no_verification_that_the_environment_asks_for(
    monkeypatch: pytest.MonkeyPatch, given: str | None, used: str | None
) -> None:
    class Credential:
        async def get_token(self, *_: str) -> AccessToken:
            return AccessToken("token", 0)

    monkeypatch.delenv("PGSSLMODE", raising=False)
    if given is not None:
        monkeypatch.setenv("PGSSLMODE", given)
    credential: Any = Credential()
    settings = PostgresSettings(dsn="postgresql://db.example/agents", schema="s", credential=credential)
    assert (await settings.parameters(is_direct=True)).get("sslmode") == used


async def test_backslashes_in_strings_change_no_record(schema: str) -> None:
    dsn = make_conninfo(postgres_dsn(), options="-c standard_conforming_strings=off")
    stores = postgres_stores(dsn, schema=schema)
    writes = [Write(KEY, b"\\\x00\xff'"), Write(Key("session", "n"), b"NULL")]
    await stores.state.write(Caller(), writes)
    found = await stores.state.read(Caller(), [write.key for write in writes])
    await stores.aclose()
    assert [record and record.value for record in found] == [write.value for write in writes]


async def test_a_database_without_an_encoding_stores_texts_as_every_other() -> None:
    name = f"ascii_{secrets.token_hex(8)}"
    with psycopg.connect(postgres_dsn(), autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0".encode()
        )
        try:
            database = Database(PostgresSettings(dsn=make_conninfo(postgres_dsn(), dbname=name), schema="hostedagent"))
            assert await database.rows("SELECT %s::text", ("Grüße",)) == [("Grüße",)]
            await database.aclose()
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
