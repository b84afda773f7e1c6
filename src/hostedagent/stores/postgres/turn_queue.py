"""The queue of background turns in the database. Processes that take turns at the same time skip each other's rows."""

from __future__ import annotations

from typing import Final

from hostedagent.stores.postgres.database import Database
from hostedagent.stores.turn_queue import QueuedTurn, QueueLimits, QueueState

_PUT: Final = "SELECT {schema}.enqueue(%s, %s, %s, %s, %s, %s, %s, %s)"

_TAKE: Final = """
WITH next AS (
    SELECT q.id FROM {schema}.queue q
    WHERE q.service = %(service)s AND q.taken_by = '' AND q.ready_at <= now()
        AND NOT EXISTS (
            SELECT FROM {schema}.queue earlier
            WHERE earlier.service = q.service AND earlier.conversation = q.conversation AND earlier.id < q.id)
    ORDER BY q.tag, q.id LIMIT 1 FOR UPDATE SKIP LOCKED)
UPDATE {schema}.queue SET taken_by = %(process)s FROM next WHERE queue.id = next.id
RETURNING queue.response_id, queue.request, extract(epoch FROM now() - queue.queued_at)::float8
"""
_TAKE_ONE: Final = """
UPDATE {schema}.queue SET taken_by = %(process)s
WHERE service = %(service)s AND response_id = %(response_id)s AND taken_by = ''
RETURNING response_id, request, extract(epoch FROM now() - queued_at)::float8
"""
_RELEASE: Final = """
UPDATE {schema}.queue SET taken_by = '', ready_at = now() + %s * interval '1 second'
WHERE service = %s AND response_id = %s RETURNING id
"""
_FREE: Final = "UPDATE {schema}.queue SET taken_by = '' WHERE service = %s AND taken_by = %s"
_DROP: Final = "DELETE FROM {schema}.queue WHERE service = %s AND response_id = %s"
_STATE: Final = """
SELECT taken_by, count(*), extract(epoch FROM now() - min(queued_at))::float8
FROM {schema}.queue WHERE service = %s GROUP BY taken_by
"""


class PostgresTurnQueue:
    """A `TurnQueue` in PostgreSQL.

    Args:
        service: Distinguishes the hosts of several agents that share a schema.
    """

    def __init__(self, database: Database, *, service: str = "") -> None:
        self._database = database
        self._service = service

    async def put(
        self, turn: QueuedTurn, *, user: str, conversation: str | None, process: str, limits: QueueLimits
    ) -> bool:
        """Add a turn, taken by the process that adds it; `False` if a limit is reached."""
        values = (self._service, turn.response_id, user, conversation, turn.request, process, *limits)
        is_added: bool = (await self._database.rows(_PUT, values))[0][0]
        return is_added

    async def take(self, process: str, response_id: str | None = None) -> QueuedTurn | None:
        """Take the turn that is next, or the one of a response."""
        values = {"service": self._service, "process": process, "response_id": response_id}
        rows = await self._database.rows(_TAKE if response_id is None else _TAKE_ONE, values)
        return QueuedTurn(*rows[0]) if rows else None

    async def release(self, response_id: str, *, delay: float = 0.0) -> bool:
        """Let any process take a turn, after a delay in seconds."""
        return bool(await self._database.rows(_RELEASE, (delay, self._service, response_id), repeats=True))

    async def free(self, process: str) -> None:
        """Let any process take the turns that a process has taken which has ended."""
        await self._database.rows(_FREE, (self._service, process), repeats=True)

    async def drop(self, response_id: str) -> None:
        """Remove a turn that has begun, or will not."""
        await self._database.rows(_DROP, (self._service, response_id), repeats=True)

    async def state(self) -> QueueState:
        """The state of the queue."""
        waiting, oldest, takers = 0, 0.0, list[str]()
        for process, count, seconds in await self._database.rows(_STATE, (self._service,), repeats=True):
            if process:
                takers.append(process)
            else:
                waiting, oldest = count, seconds
        return QueueState(waiting, oldest, tuple(takers))
