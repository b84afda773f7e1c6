"""The events of streams in the database: any replica replays and follows them.

Appends do not wait for the disk, but the end of a log does: after a crash of the database, the last events of a running
stream may be missing, but never those of a finished one. Followers read at their own pace and are woken by `NOTIFY`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Final

from psycopg.errors import DivisionByZero

from hostedagent.identity import Caller
from hostedagent.stores.base import LoggedEvent, StoreConflict, StoreNotFound, StoreUnavailable
from hostedagent.stores.postgres.database import Database
from hostedagent.stores.postgres.listener import Listener

RUNNING_SECONDS: Final = 7 * 86400.0
"""Seconds that an unfinished log is kept."""

FINISHED_SECONDS: Final = 86400.0
"""Seconds that a finished log is kept, unless it is deleted earlier."""

_BATCH: Final = 500
"""Events that a follower reads at once."""

_PATIENCE: Final = 30.0
"""Seconds that a follower waits for a database that is away."""

_APPEND: Final = """
WITH log AS (
    INSERT INTO {schema}.event_logs (key, expires_at) VALUES (%(key)s, now() + %(seconds)s * interval '1 second')
    ON CONFLICT DO NOTHING),
added AS (
    INSERT INTO {schema}.events (key, number, data)
    SELECT %(key)s, e.number, e.data FROM unnest(%(numbers)s::bigint[], %(data)b::bytea[]) AS e (number, data)
    ON CONFLICT DO NOTHING RETURNING number)
SELECT set_config('synchronous_commit', 'off', true), pg_notify(%(channel)s, %(payload)s)
"""
_EXTEND: Final = f"""{_APPEND.rstrip()},
    -- If another event has one of the numbers, this fails the statement, which then adds nothing.
    1 / (CASE WHEN cardinality(%(numbers)s::bigint[]) = (SELECT count(*) FROM added) + (
        SELECT count(*) FROM {{schema}}.events
        JOIN unnest(%(numbers)s::bigint[], %(data)b::bytea[]) AS own (number, data) USING (number, data)
        WHERE events.key = %(key)s) THEN 1 ELSE 0 END)
"""
_READ: Final = """
SELECT l.is_finished, e.number, e.data FROM {schema}.event_logs l
LEFT JOIN LATERAL (
    SELECT number, data FROM {schema}.events WHERE events.key = l.key AND events.number > %(after)s
    ORDER BY number LIMIT %(limit)s) e ON true
WHERE l.key = %(key)s AND l.expires_at > now()
ORDER BY e.number
"""
_FINISH: Final = """
WITH ended AS (
    UPDATE {schema}.event_logs SET is_finished = true, expires_at = now() + %(seconds)s * interval '1 second'
    WHERE key = %(key)s AND NOT is_finished RETURNING 1)
SELECT pg_notify(%(channel)s, %(payload)s) FROM ended
"""
_DELETE: Final = """
WITH ended AS (DELETE FROM {schema}.event_logs WHERE key = %(key)s),
erased AS (DELETE FROM {schema}.events WHERE key = %(key)s)
SELECT pg_notify(%(channel)s, %(payload)s)
"""


class PostgresEventLog:
    """An `EventLog` in PostgreSQL."""

    def __init__(self, database: Database, listener: Listener) -> None:
        self._database = database
        self._listener = listener

    async def append(self, caller: Caller, response_id: str, events: Sequence[LoggedEvent]) -> None:
        """Add events and wake the subscribers, in one statement; the first call creates the log."""
        await self._add(_APPEND, caller, response_id, events)

    async def extend(self, caller: Caller, response_id: str, events: Sequence[LoggedEvent]) -> None:
        """Like `append`, but adds nothing if another event has one of the numbers; raises `StoreConflict`."""
        try:
            await self._add(_EXTEND, caller, response_id, events)
        except DivisionByZero:
            raise StoreConflict("Another process writes the events of this response.") from None

    async def read(self, caller: Caller, response_id: str, *, after: int = -1) -> list[LoggedEvent]:
        """The events with a higher number than `after`, in order; raises `StoreNotFound`."""
        found = await self._events(_key(caller, response_id), after, limit=None)
        if found is None:
            raise _missing(response_id)
        return found[1]

    async def subscribe(self, caller: Caller, response_id: str, *, after: int = -1) -> AsyncIterator[list[LoggedEvent]]:
        """Batches of the events after `after` until the log is finished; waits while the database is away."""
        key, is_known = _key(caller, response_id), False
        with self._listener.watched(key) as grown:
            while True:
                grown.clear()
                found = await self._patiently(key, after)
                if found is None and not is_known:
                    raise _missing(response_id)
                is_finished, batch = found if found is not None else (True, [])
                is_known = True
                if batch:
                    after = batch[-1].number
                    yield batch
                elif is_finished:
                    return
                else:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._listener.poll_seconds):
                            await grown.wait()

    async def finish(self, caller: Caller, response_id: str) -> None:
        """Mark the log complete."""
        await self._change(_FINISH, caller, response_id, seconds=FINISHED_SECONDS)

    async def delete(self, caller: Caller, response_id: str) -> None:
        """Erase the log and end its subscribers; does nothing if there is none."""
        await self._change(_DELETE, caller, response_id)

    async def _add(self, statement: str, caller: Caller, response_id: str, events: Sequence[LoggedEvent]) -> None:
        await self._change(
            statement,
            caller,
            response_id,
            numbers=[event.number for event in events],
            data=[event.data for event in events],
            seconds=RUNNING_SECONDS,
        )

    async def _change(self, statement: str, caller: Caller, response_id: str, **more: object) -> None:
        key = _key(caller, response_id)
        values = {"key": bytes.fromhex(key), "channel": self._listener.channel, "payload": f"e{key}", **more}
        await self._database.rows(statement, values, repeats=True)

    async def _events(self, key: str, after: int, *, limit: int | None) -> tuple[bool, list[LoggedEvent]] | None:
        values = {"key": bytes.fromhex(key), "after": after, "limit": limit}
        rows = await self._database.rows(_READ, values, repeats=True)
        if not rows:
            return None
        return rows[0][0], [LoggedEvent(number, data) for _, number, data in rows if number is not None]

    async def _patiently(self, key: str, after: int) -> tuple[bool, list[LoggedEvent]] | None:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                return await self._events(key, after, limit=_BATCH)
            except StoreUnavailable:
                if time.monotonic() >= until:
                    raise
                await asyncio.sleep(self._listener.poll_seconds if not self._listener.is_ready else 0.5)


def _key(caller: Caller, response_id: str) -> str:
    return caller.scope.key("events", response_id)


def _missing(response_id: str) -> StoreNotFound:
    return StoreNotFound(f"There are no events of {response_id}.")
