"""The outbox of webhooks: deliveries are stored before they are sent, and erased once they have succeeded.

An entry is written when its turn starts, completed when the turn has ended, and taken by any process when it is due. A
process that takes an entry holds it for some time; if it dies, others take the entry.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import asdict, replace

from hostedagent.identity import Caller
from hostedagent.protocol.types import Json
from hostedagent.stores.base import Key, Store, StoreConflict, Value
from hostedagent.stores.journals import JOURNALS
from hostedagent.stores.values import change_value, read_values, write_value

OUTBOX: Final = "outbox"

SHARDS: Final = 8
"""In how many records a `StoredOutbox` is: each holds about 4,000 entries."""

SCAN_SECONDS: Final = 30.0
"""Seconds between checks for entries of other processes, if the store cannot report which are due."""

_ALL: Final = Caller(JOURNALS)


class Delivery(Struct, frozen=True, kw_only=True):
    """The delivery of the outcome of one turn.

    Args:
        owner: The process that runs the turn; `""` if processes have no names.
        event: The type of the terminal event, such as `response.completed`; `""` until the turn has ended.
        ended_at: When the turn ended, in seconds since the epoch.
    """

    response_id: str
    caller: Caller
    owner: str = ""
    event: str = ""
    ended_at: float = 0.0
    attempts: int = 0


class Outbox(Protocol):
    """Keeps deliveries until they have succeeded.

    Concurrency: an entry is taken by one process at a time. Exceptions: `StoreError`.
    """

    async def begin(self, delivery: Delivery, *, delay: float) -> None:
        """Record the start of a turn. An entry whose turn has ended is not changed.

        Args:
            delay: Seconds after which a process checks what became of it.
        """
        ...

    async def end(self, delivery: Delivery) -> None:
        """Record the outcome of a turn, which makes the entry due now. Adds the entry if necessary."""
        ...

    async def take(self, *, limit: int, hold: float) -> list[Delivery]:
        """Take due entries and hold them for some seconds. For an ended turn, this counts as an attempt."""
        ...

    async def retry(self, delivery: Delivery, *, delay: float) -> None:
        """Make a taken entry due again after some seconds, unless it was taken again in the meantime."""
        ...

    async def drop(self, delivery: Delivery) -> None:
        """Erase a taken entry, unless it was taken again in the meantime."""
        ...

    async def bury(self, delivery: Delivery) -> None:
        """Never take an entry again. The store may keep it for an operator."""
        ...


class _Row(Struct, frozen=True):
    """An entry in a record."""

    caller: dict[str, Json]
    owner: str
    event: str
    ended_at: float
    attempts: int
    ready_at: float


_Rows = dict[str, _Row]


class StoredOutbox:
    """An `Outbox` over a `Store`, in a few records that hold all entries.

    Args:
        service: Distinguishes the hosts of several agents that share a store.
    """

    def __init__(self, store: Store, clock: Callable[[], float], *, service: str = "") -> None:
        self._store = store
        self._clock = clock
        self._keys = [Key(OUTBOX, f"{service}:{number}") for number in range(SHARDS)]
        self._changing = asyncio.Lock()
        self._due_at = 0.0

    async def begin(self, delivery: Delivery, *, delay: float) -> None:
        """Record the start of a turn."""
        row = _row(delivery, self._clock() + delay)
        await self._change(delivery.response_id, lambda found: found if found is not None and found.event else row)

    async def end(self, delivery: Delivery) -> None:
        """Record the outcome of a turn."""
        now = self._clock()
        row = _row(replace(delivery, ended_at=now), now)
        await self._change(delivery.response_id, lambda _: row)

    async def take(self, *, limit: int, hold: float) -> list[Delivery]:
        """Take entries that are due."""
        now = self._clock()
        if now < self._due_at:
            return []
        self._due_at = now + SCAN_SECONDS
        taken: list[Delivery] = []
        for key, found in zip(self._keys, await read_values(self._store, _ALL, self._keys), strict=True):
            rows = _load(found.value) if found is not None else {}
            if found is None or all(row.ready_at > now for row in rows.values()):
                self._expect(*(row.ready_at for row in rows.values()))
                continue
            due = [name for name, row in rows.items() if row.ready_at <= now][: limit - len(taken)]
            held = {
                name: replace(rows[name], ready_at=now + hold, attempts=rows[name].attempts + bool(rows[name].event))
                for name in due
            }
            rows.update(held)
            self._expect(*(row.ready_at for row in rows.values()))
            try:
                await write_value(self._store, _ALL, key, _dump(rows), expect=found.etag)
            except StoreConflict:
                self._expect(now)
                continue
            taken += [_delivery(name, row) for name, row in held.items()]
        return taken

    async def retry(self, delivery: Delivery, *, delay: float) -> None:
        """Let an entry be due again."""
        ready_at = self._clock() + delay
        await self._settle(delivery, lambda row: replace(row, ready_at=ready_at))

    async def drop(self, delivery: Delivery) -> None:
        """Erase an entry."""
        await self._settle(delivery, lambda _: None)

    async def bury(self, delivery: Delivery) -> None:
        """Erase an entry that is given up."""
        await self._settle(delivery, lambda _: None)

    async def _settle(self, delivery: Delivery, change: Callable[[_Row], _Row | None]) -> None:
        def changed(row: _Row | None) -> _Row | None:
            is_same = row is not None and (row.attempts, row.event) == (delivery.attempts, delivery.event)
            return change(row) if row is not None and is_same else row

        await self._change(delivery.response_id, changed)

    def _expect(self, *times: float) -> None:
        self._due_at = min(self._due_at, *times) if times else self._due_at

    async def _change(self, response_id: str, change: Callable[[_Row | None], _Row | None]) -> None:
        key = self._keys[hashlib.sha256(response_id.encode("utf-8", "surrogatepass")).digest()[0] % SHARDS]

        def changed(value: Value | None) -> Value:
            rows = _load(value or {})
            row = change(rows.pop(response_id, None))
            if row is not None:
                rows[response_id] = row
                self._expect(row.ready_at)
            return _dump(rows)

        async with self._changing:  # The tasks of this process do not conflict with each other.
            await change_value(self._store, _ALL, key, changed)


def _row(delivery: Delivery, ready_at: float) -> _Row:
    return _Row(delivery.caller.dump(), delivery.owner, delivery.event, delivery.ended_at, delivery.attempts, ready_at)


def _delivery(name: str, row: _Row) -> Delivery:
    return Delivery(
        response_id=name,
        caller=Caller.load(row.caller),
        owner=row.owner,
        event=row.event,
        ended_at=row.ended_at,
        attempts=row.attempts,
    )


def _load(value: Mapping[str, Json]) -> _Rows:
    return {name: _Row(**row) for name, row in value.items()}


def _dump(rows: _Rows) -> dict[str, Json]:
    return {name: asdict(row) for name, row in rows.items()}
