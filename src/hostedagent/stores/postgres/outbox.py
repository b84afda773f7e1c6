"""The outbox of webhooks in the database. Processes that take entries at the same time skip each other's rows."""

from __future__ import annotations

from typing import Final

from hostedagent.identity import Caller
from hostedagent.protocol.json import decode, encode
from hostedagent.stores.outbox import Delivery
from hostedagent.stores.postgres.database import Database

_BEGIN: Final = """
INSERT INTO {schema}.outbox AS o (service, response_id, caller, owner, ready_at)
VALUES (%s, %s, %s, %s, now() + %s * interval '1 second')
ON CONFLICT (service, response_id) DO UPDATE SET owner = excluded.owner, ready_at = excluded.ready_at
WHERE o.event = ''
"""
_END: Final = """
INSERT INTO {schema}.outbox (service, response_id, caller, owner, event, ended_at, ready_at)
VALUES (%s, %s, %s, %s, %s, now(), now())
ON CONFLICT (service, response_id) DO UPDATE
SET event = excluded.event, ended_at = excluded.ended_at, ready_at = excluded.ready_at, attempts = 0
"""
_TAKE: Final = """
WITH due AS (
    SELECT service, response_id FROM {schema}.outbox WHERE service = %s AND ready_at <= now()
    ORDER BY ready_at LIMIT %s FOR UPDATE SKIP LOCKED)
UPDATE {schema}.outbox o
SET ready_at = now() + %s * interval '1 second', attempts = o.attempts + (o.event <> '')::integer
FROM due WHERE o.service = due.service AND o.response_id = due.response_id
RETURNING o.response_id, o.caller, o.owner, o.event, extract(epoch FROM o.ended_at)::float8, o.attempts
"""
_RETRY: Final = """
UPDATE {schema}.outbox SET ready_at = now() + %s * interval '1 second'
WHERE service = %s AND response_id = %s AND event = %s AND attempts = %s
"""
_DROP: Final = """
DELETE FROM {schema}.outbox WHERE service = %s AND response_id = %s AND event = %s AND attempts = %s
"""
_BURY: Final = """
UPDATE {schema}.outbox SET ready_at = 'infinity'
WHERE service = %s AND response_id = %s AND event = %s AND attempts = %s
"""


class PostgresOutbox:
    """An `Outbox` in PostgreSQL.

    Args:
        service: Distinguishes the hosts of several agents that share a schema.
    """

    def __init__(self, database: Database, *, service: str = "") -> None:
        self._database = database
        self._service = service

    async def begin(self, delivery: Delivery, *, delay: float) -> None:
        """Record the start of a turn."""
        await self._database.rows(_BEGIN, (*self._named(delivery), delay), repeats=True)

    async def end(self, delivery: Delivery) -> None:
        """Record the outcome of a turn."""
        await self._database.rows(_END, (*self._named(delivery), delivery.event), repeats=True)

    async def take(self, *, limit: int, hold: float) -> list[Delivery]:
        """Take entries that are due."""
        rows = await self._database.rows(_TAKE, (self._service, limit, hold))
        return [
            Delivery(
                response_id=response_id,
                caller=Caller.load(decode(caller)),
                owner=owner,
                event=event,
                ended_at=ended_at or 0.0,
                attempts=attempts,
            )
            for response_id, caller, owner, event, ended_at, attempts in rows
        ]

    async def retry(self, delivery: Delivery, *, delay: float) -> None:
        """Let an entry be due again."""
        await self._database.rows(_RETRY, (delay, *self._taken(delivery)), repeats=True)

    async def drop(self, delivery: Delivery) -> None:
        """Erase an entry."""
        await self._database.rows(_DROP, self._taken(delivery), repeats=True)

    async def bury(self, delivery: Delivery) -> None:
        """Keep an entry without sending it again."""
        await self._database.rows(_BURY, self._taken(delivery), repeats=True)

    def _named(self, delivery: Delivery) -> tuple[str, str, bytes, str]:
        return self._service, delivery.response_id, encode(delivery.caller.dump()), delivery.owner

    def _taken(self, delivery: Delivery) -> tuple[str, str, str, int]:
        return self._service, delivery.response_id, delivery.event, delivery.attempts
