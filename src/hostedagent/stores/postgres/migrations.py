"""The tables of the PostgreSQL stores, as numbered migrations that are applied once and never edited.

A migration must keep the tables usable for the previous version of the package, so that replicas can be replaced one by
one: add columns with defaults, tables and functions; remove only what the previous version does not use.
"""

from __future__ import annotations

import hashlib
from typing import Final

from msgspec import Struct
from psycopg import AsyncConnection, sql
from psycopg.errors import InsufficientPrivilege, UndefinedTable
from psycopg.rows import TupleRow

from hostedagent.errors import ConfigurationError


class Migration(Struct, frozen=True):
    """One step of the schema.

    Args:
        statements: SQL in which `{schema}` is the quoted name of the schema.
    """

    version: int
    purpose: str
    statements: str


_TABLES: Final = """
CREATE SEQUENCE {schema}.etags;

CREATE TABLE {schema}.records (
    key bytea PRIMARY KEY,
    etag bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    expires_hour integer NOT NULL,
    value bytea NOT NULL
) WITH (fillfactor = 80);
-- By the hour, so that most updates change no indexed column and need no new index entries.
CREATE INDEX records_expire ON {schema}.records (expires_hour);

CREATE TABLE {schema}.event_logs (
    key bytea PRIMARY KEY,
    is_finished boolean NOT NULL DEFAULT false,
    expires_at timestamptz NOT NULL
);
CREATE INDEX event_logs_expire ON {schema}.event_logs (expires_at);

CREATE TABLE {schema}.events (
    key bytea NOT NULL,
    number bigint NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (key, number)
);

CREATE TABLE {schema}.signals (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    content text NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE {schema}.processes (
    name text PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT now()
);

-- Writes records, all or none. `expected` has 0 for a record that must not exist, NULL for no condition. Returns the
-- new etags, 0 for an erased record; or one negative number, the position of the first write that conflicts.
CREATE FUNCTION {schema}.write_records(keys bytea[], vals bytea[], expected bigint[], ttls float8[])
RETURNS bigint[] LANGUAGE plpgsql AS $function$
DECLARE
    conflict bigint;
    etags bigint[];
    created integer;
    wanted integer;
BEGIN
    -- In the order of the keys, so that two writers never wait for each other.
    PERFORM 1 FROM {schema}.records r WHERE r.key = ANY (keys) ORDER BY r.key FOR UPDATE;
    SELECT w.n INTO conflict
    FROM unnest(keys, expected) WITH ORDINALITY AS w (key, expect, n)
    LEFT JOIN {schema}.records r ON r.key = w.key AND r.expires_at > now()
    WHERE w.expect <> coalesce(r.etag, 0)
    ORDER BY w.n LIMIT 1;
    IF FOUND THEN
        RETURN ARRAY[-conflict];
    END IF;
    SELECT array_agg(CASE WHEN w.value IS NULL THEN 0 ELSE nextval('{schema}.etags') END ORDER BY w.n),
        count(*) FILTER (WHERE w.expect = 0 AND w.value IS NOT NULL)
    INTO etags, wanted
    FROM unnest(vals, expected) WITH ORDINALITY AS w (value, expect, n);
    IF 0 = ANY (etags) THEN
        DELETE FROM {schema}.records r USING unnest(keys, etags) AS w (key, etag)
        WHERE r.key = w.key AND w.etag = 0;
    END IF;
    IF wanted > 0 THEN
        INSERT INTO {schema}.records AS r (key, etag, expires_at, expires_hour, value)
        SELECT w.key, w.etag, t.expires_at, floor(extract(epoch FROM t.expires_at) / 3600), w.value
        FROM unnest(keys, vals, expected, ttls, etags) AS w (key, value, expect, ttl, etag),
            LATERAL (SELECT now() + w.ttl * interval '1 second') AS t (expires_at)
        WHERE w.expect = 0 AND w.value IS NOT NULL
        ORDER BY w.key
        ON CONFLICT (key) DO UPDATE SET etag = excluded.etag, expires_at = excluded.expires_at,
            expires_hour = excluded.expires_hour, value = excluded.value
        WHERE r.expires_at <= now();
        GET DIAGNOSTICS created = ROW_COUNT;
        IF created < wanted THEN
            RAISE EXCEPTION 'another writer created the record' USING ERRCODE = 'HA409';
        END IF;
    END IF;
    INSERT INTO {schema}.records (key, etag, expires_at, expires_hour, value)
    SELECT w.key, w.etag, t.expires_at, floor(extract(epoch FROM t.expires_at) / 3600), w.value
    FROM unnest(keys, vals, expected, ttls, etags) AS w (key, value, expect, ttl, etag),
        LATERAL (SELECT now() + w.ttl * interval '1 second') AS t (expires_at)
    WHERE w.expect IS DISTINCT FROM 0 AND w.value IS NOT NULL
    ORDER BY w.key
    ON CONFLICT (key) DO UPDATE SET etag = excluded.etag, expires_at = excluded.expires_at,
        expires_hour = excluded.expires_hour, value = excluded.value;
    RETURN etags;
END
$function$;

-- Whether a process has ended. The verdict is final: its row goes, and it cannot take its name again.
CREATE FUNCTION {schema}.is_dead(process text, lock bigint, may_judge boolean)
RETURNS boolean LANGUAGE plpgsql AS $function$
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.processes p WHERE p.name = process) THEN
        RETURN true;
    END IF;
    IF NOT may_judge OR NOT pg_try_advisory_xact_lock(lock) THEN
        RETURN false;
    END IF;
    DELETE FROM {schema}.processes p WHERE p.name = process;
    RETURN true;
END
$function$;
"""

_QUEUE: Final = """
CREATE TABLE {schema}.queue (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service text NOT NULL,
    response_id text NOT NULL,
    user_key text NOT NULL,
    conversation text,
    tag bigint NOT NULL,
    request bytea NOT NULL,
    queued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ready_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    taken_by text NOT NULL,
    UNIQUE (service, response_id)
);
CREATE INDEX queue_order ON {schema}.queue (service, tag, id);
CREATE INDEX queue_conversation ON {schema}.queue (service, conversation, id);

-- Adds a turn behind the others of its user, and no earlier than the first that waits. One caller at a time, so that
-- the limits are exact. Returns whether it was added.
CREATE FUNCTION {schema}.enqueue(
    a_service text, a_response text, a_user text, a_conversation text, a_request bytea, a_process text,
    most integer, most_each integer)
RETURNS boolean LANGUAGE plpgsql AS $function$
DECLARE
    all_turns bigint;
    own_turns bigint;
    own_last bigint;
    first bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('{schema}.queue', 0));
    SELECT count(*), count(*) FILTER (WHERE q.user_key = a_user), max(q.tag) FILTER (WHERE q.user_key = a_user),
        min(q.tag)
    INTO all_turns, own_turns, own_last, first
    FROM {schema}.queue q WHERE q.service = a_service;
    IF all_turns >= most OR own_turns >= most_each THEN
        RETURN false;
    END IF;
    INSERT INTO {schema}.queue (service, response_id, user_key, conversation, tag, request, taken_by)
    VALUES (a_service, a_response, a_user, a_conversation, greatest(first, own_last + 1, 0), a_request, a_process);
    RETURN true;
END
$function$;
"""

_FAIR: Final = """
-- Adds a turn behind the others of its user, and no earlier than the oldest that can begin, so that no turn waits for
-- all who come later. One caller at a time, so that the limits are exact. Returns whether it was added.
CREATE OR REPLACE FUNCTION {schema}.enqueue(
    a_service text, a_response text, a_user text, a_conversation text, a_request bytea, a_process text,
    most integer, most_each integer)
RETURNS boolean LANGUAGE plpgsql AS $function$
DECLARE
    all_turns bigint;
    own_turns bigint;
    own_last bigint;
    lowest bigint;
    start bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('{schema}.queue', 0));
    SELECT count(*), count(*) FILTER (WHERE q.user_key = a_user), max(q.tag) FILTER (WHERE q.user_key = a_user),
        min(q.tag)
    INTO all_turns, own_turns, own_last, lowest
    FROM {schema}.queue q WHERE q.service = a_service;
    IF all_turns >= most OR own_turns >= most_each THEN
        RETURN false;
    END IF;
    SELECT q.tag INTO start FROM {schema}.queue q
    WHERE q.service = a_service AND q.taken_by = '' AND q.ready_at <= now()
        AND NOT EXISTS (
            SELECT FROM {schema}.queue earlier
            WHERE earlier.service = q.service AND earlier.conversation = q.conversation AND earlier.id < q.id)
    ORDER BY q.id LIMIT 1;
    INSERT INTO {schema}.queue (service, response_id, user_key, conversation, tag, request, taken_by)
    VALUES (a_service, a_response, a_user, a_conversation, greatest(coalesce(start, lowest), own_last + 1, 0),
        a_request, a_process);
    RETURN true;
END
$function$;
"""

_OUTBOX: Final = """
CREATE TABLE {schema}.outbox (
    service text NOT NULL,
    response_id text NOT NULL,
    caller bytea NOT NULL,
    owner text NOT NULL,
    event text NOT NULL DEFAULT '',
    begun_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    ready_at timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    PRIMARY KEY (service, response_id)
);
CREATE INDEX outbox_ready ON {schema}.outbox (service, ready_at);
"""

MIGRATIONS: Final = (
    Migration(1, "records, events, signals, processes", _TABLES),
    Migration(2, "the queue of background turns", _QUEUE),
    Migration(3, "the outbox of webhooks", _OUTBOX),
    Migration(4, "a queue in which no turn waits for all who come later", _FAIR),
)
"""All migrations in their order."""

VERSION: Final = MIGRATIONS[-1].version


def lock_id(*parts: str) -> int:
    """The number of an advisory lock: 64 bits of a digest, to avoid collisions with other uses of the database."""
    digest = hashlib.sha256("\0".join(("hostedagent", *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


async def current_version(connection: AsyncConnection[TupleRow], schema: str) -> int:
    """The version of the tables; 0 where there are none."""
    statement = sql.SQL("SELECT max(version) FROM {}.migrations").format(sql.Identifier(schema))
    try:
        row = await (await connection.execute(statement)).fetchone()
    except UndefinedTable:
        return 0
    return (row[0] if row is not None else None) or 0


async def migrate(connection: AsyncConnection[TupleRow], schema: str) -> list[Migration]:
    """Apply the missing migrations, one process at a time, and return them.

    Raises:
        ConfigurationError: The role may not create tables.
    """
    applied: list[Migration] = []
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock_id("migrate", schema),))
            name = sql.Identifier(schema)
            # Checked first: CREATE SCHEMA IF NOT EXISTS needs the privilege even if the schema exists.
            found = await connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (schema,))
            if found.rowcount == 0:
                await connection.execute(sql.SQL("CREATE SCHEMA {}").format(name))
            await connection.execute(
                sql.SQL(
                    "CREATE TABLE IF NOT EXISTS {}.migrations (version integer PRIMARY KEY, purpose text NOT NULL, "
                    "applied_at timestamptz NOT NULL DEFAULT now())"
                ).format(name)
            )
            version = await current_version(connection, schema)
            for migration in MIGRATIONS:
                if migration.version > version:
                    await connection.execute(migration.statements.replace("{schema}", f'"{schema}"').encode())
                    await connection.execute(
                        sql.SQL("INSERT INTO {}.migrations (version, purpose) VALUES (%s, %s)").format(name),
                        (migration.version, migration.purpose),
                    )
                    applied.append(migration)
    except InsufficientPrivilege:
        raise ConfigurationError(
            f"This role may not create tables in the schema {schema!r}: run `hostedagent migrate` as its owner."
        ) from None
    return applied


async def prepare(connection: AsyncConnection[TupleRow], schema: str, *, migrates: bool) -> None:
    """Check that the tables exist; those of a later version are used unchanged.

    Raises:
        ConfigurationError: They are missing or too old and may not be created here.
    """
    if await current_version(connection, schema) >= VERSION:
        return
    if not migrates:
        raise ConfigurationError(
            f"The tables in the schema {schema!r} are missing or too old: run `hostedagent migrate`."
        )
    await migrate(connection, schema)
