"""The queue of background turns that wait for a free slot on any replica.

It is fair between users: each turn gets the tag after the last one of its user, but not below that of the oldest turn
that can begin. The lowest tag is served first, so a user with a hundred queued turns delays others by one turn at a
time. No turn waits for those who come later, because the oldest one that can begin is behind none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from msgspec import Struct
from msgspec.structs import asdict, replace

from hostedagent.identity import Caller
from hostedagent.protocol.values import rows_of
from hostedagent.stores.base import Key, Store, Value, Write
from hostedagent.stores.journals import JOURNALS
from hostedagent.stores.values import change_value, read_value

QUEUE: Final = "queue"
QUEUED: Final = "queued"

_ALL: Final = Caller(JOURNALS)


class QueuedTurn(NamedTuple):
    """A queued turn.

    Args:
        seconds: Seconds that it has waited.
    """

    response_id: str
    request: bytes
    seconds: float = 0.0


class QueueLimits(NamedTuple):
    """The limits of a queue."""

    most: int
    most_each: int


class QueueState(Struct, frozen=True):
    """The state of a queue.

    Args:
        waiting: The number of turns that no process has taken.
        oldest: Seconds that the first of them has waited.
        takers: The processes that have taken turns which have not started.
    """

    waiting: int = 0
    oldest: float = 0.0
    takers: tuple[str, ...] = ()


class TurnQueue(Protocol):
    """Keeps turns until a process takes them.

    A taken turn stays in the queue until it is dropped, so that it is not lost with the process that took it.
    Concurrency: each turn is taken by one process. Exceptions: `StoreUnavailable`.
    """

    async def put(
        self, turn: QueuedTurn, *, user: str, conversation: str | None, process: str, limits: QueueLimits
    ) -> bool:
        """Add a turn, taken by the process that adds it until that one releases it.

        Args:
            user: The owner of the turn, as an opaque key.
            conversation: Turns of one conversation are taken in order; `None` for a turn without one.

        Returns:
            Whether it was added; `False` if a limit is reached.
        """
        ...

    async def take(self, process: str, response_id: str | None = None) -> QueuedTurn | None:
        """Take the turn that is next, or the one of a response; `None` where there is none that can be taken."""
        ...

    async def release(self, response_id: str, *, delay: float = 0.0) -> bool:
        """Let any process take a turn, after a delay in seconds; returns whether it is in the queue."""
        ...

    async def free(self, process: str) -> None:
        """Let any process take the turns that a process has taken which has ended."""
        ...

    async def drop(self, response_id: str) -> None:
        """Remove a turn that has begun, or will not."""
        ...

    async def state(self) -> QueueState:
        """The state of the queue."""
        ...


class _Row(Struct, frozen=True):
    """A turn in the list."""

    response_id: str
    user: str
    conversation: str | None
    tag: int
    queued_at: float
    ready_at: float
    taken_by: str


class StoredTurnQueue:
    """A `TurnQueue` over a `Store`: one record with the order, and one for each request.

    Args:
        service: Distinguishes the hosts of several agents that share a store.
    """

    def __init__(self, store: Store, clock: Callable[[], float], *, service: str = "") -> None:
        self._store = store
        self._clock = clock
        self._order = Key(QUEUE, service)

    async def put(
        self, turn: QueuedTurn, *, user: str, conversation: str | None, process: str, limits: QueueLimits
    ) -> bool:
        """Add a turn, taken by the process that adds it; `False` if a limit is reached."""
        now, is_added = self._clock(), False

        def added(rows: list[_Row]) -> list[_Row]:
            nonlocal is_added
            own = [row for row in rows if row.user == user]
            is_added = len(rows) < limits.most and len(own) < limits.most_each
            if not is_added:
                return rows
            ready = [row.tag for row in rows if self._can_be_taken(row, rows, None)]
            start = ready[0] if ready else min((row.tag for row in rows), default=0)
            tag = max([start, *(row.tag + 1 for row in own)])
            return [*rows, _Row(turn.response_id, user, conversation, tag, now, now, process)]

        await self._change(added, Write(Key(QUEUED, turn.response_id), turn.request))
        return is_added

    async def take(self, process: str, response_id: str | None = None) -> QueuedTurn | None:
        """Take the turn that is next, or the one of a response."""
        taken: _Row | None = None

        def marked(rows: list[_Row]) -> list[_Row]:
            nonlocal taken
            taken = min(
                (row for row in rows if self._can_be_taken(row, rows, response_id)),
                key=lambda row: row.tag,
                default=None,
            )
            return [replace(row, taken_by=process) if row is taken else row for row in rows]

        await self._change(marked)
        if taken is None:
            return None
        (request,) = await self._store.read(_ALL, [Key(QUEUED, taken.response_id)])
        data = request.value if request is not None else b""
        return QueuedTurn(taken.response_id, data, self._clock() - taken.queued_at)

    async def release(self, response_id: str, *, delay: float = 0.0) -> bool:
        """Let any process take a turn, after a delay in seconds; returns whether it is in the queue."""
        ready_at, is_there = self._clock() + delay, False

        def released(rows: list[_Row]) -> list[_Row]:
            nonlocal is_there
            is_there = any(row.response_id == response_id for row in rows)
            return [
                replace(row, taken_by="", ready_at=ready_at) if row.response_id == response_id else row for row in rows
            ]

        await self._change(released)
        return is_there

    async def free(self, process: str) -> None:
        """Let any process take the turns that a process has taken which has ended."""
        await self._change(lambda rows: [replace(row, taken_by="") if row.taken_by == process else row for row in rows])

    async def drop(self, response_id: str) -> None:
        """Remove a turn that has begun, or will not."""
        await self._change(
            lambda rows: [row for row in rows if row.response_id != response_id],
            Write(Key(QUEUED, response_id), None),
        )

    async def state(self) -> QueueState:
        """The state of the queue."""
        found = await read_value(self._store, _ALL, self._order)
        rows = _rows(found.value if found is not None else None)
        free = [row.queued_at for row in rows if not row.taken_by]
        takers = {row.taken_by for row in rows if row.taken_by}
        return QueueState(len(free), max(0.0, self._clock() - min(free)) if free else 0.0, tuple(sorted(takers)))

    def _can_be_taken(self, row: _Row, rows: list[_Row], response_id: str | None) -> bool:
        if row.taken_by or (response_id is not None and row.response_id != response_id):
            return False
        if response_id is not None:
            return True
        earlier = rows[: rows.index(row)]
        is_first = row.conversation is None or all(other.conversation != row.conversation for other in earlier)
        return is_first and row.ready_at <= self._clock()

    async def _change(self, change: Callable[[list[_Row]], list[_Row]], *more: Write) -> None:
        def changed(value: Value | None) -> Value | None:
            rows = _rows(value)
            after = change(rows)
            return {"turns": [asdict(row) for row in after]} if after != rows else None

        await change_value(self._store, _ALL, self._order, changed, *more)


def _rows(value: Value | None) -> list[_Row]:
    return [_Row(**row) for row in rows_of(value["turns"])] if value is not None else []
