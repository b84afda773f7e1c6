"""Records which replica runs which background turn, so that another replica can take over the turns of a dead one.

A replica is one host in one process. It keeps a list of its turns, which only it changes, and journals each turn under
its own name. A turn is taken over by compare-and-set on its journal, so exactly one replica gets it; the former owner
notices with its next write, and stores nothing afterwards. If the answer to a write of its own is lost, a replica reads
the record again: it is still its own as long as it names it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from hostedagent.errors import Conflict
from hostedagent.identity import Caller
from hostedagent.stores.base import ABSENT, Etag, Key, Store, StoreConflict, StoreError, StoreUnavailable, Value, Write
from hostedagent.stores.journals import JOURNAL, JOURNALS, Journal, Journals
from hostedagent.stores.lease_settings import LeaseSettings
from hostedagent.stores.values import Versioned, change_value, dump_value, read_value, read_values

REPLICAS: Final = "replicas"
TURNS: Final = "turns"
REQUEST: Final = "request"

_ALL: Final = Caller(JOURNALS)
_PART_BYTES: Final = 900_000
_FENCED: Final = "This process was cut off from the store, and another one has taken its turns."


class _Replica(Struct, frozen=True):
    """The record of a replica.

    Args:
        expires_at: Until when it counts as alive without a renewal, in seconds since the epoch.
        has_ended: Whether it shut down properly and left its turns to others.
    """

    turns: tuple[str, ...] = ()
    expires_at: float = 0.0
    has_ended: bool = False


class _Membership(Struct):
    """The role of this process as a replica, from joining until it leaves or is declared dead.

    Args:
        process: The name of the process at that time.
        name: The name of the replica; each membership has its own.
        is_on: Whether it may run turns.
        has_left: Whether it has left: its turns are for others.
        etag: The etag of its list.
        held: The etags of the journals of its turns.
        parts: The number of records that contain the request of each turn.
        ended: What is still to be deleted of ended turns.
    """

    process: str = ""
    name: str = ""
    is_on: bool = False
    has_left: bool = False
    etag: Etag = ABSENT
    held: dict[str, Etag] = field(default_factory=dict[str, Etag])
    parts: dict[str, int] = field(default_factory=dict[str, int])
    ended: dict[str, list[Write]] = field(default_factory=dict[str, list[Write]])

    @property
    def key(self) -> Key:
        """The key of its list."""
        return Key(TURNS, self.name)


class BackgroundTurns(Journals):
    """The journals of background turns with their owners.

    Args:
        settings: How long a replica counts as alive, and which processes have ended.
        service: Distinguishes the hosts of several agents that share a store: only equal ones share turns.
    """

    def __init__(self, store: Store, settings: LeaseSettings, *, service: str = "") -> None:
        super().__init__(store)
        self._every = Key(REPLICAS, service)
        self._settings = settings
        self._own = _Membership()
        self._listing = asyncio.Lock()
        self._listings: set[asyncio.Task[list[Etag]]] = set()
        self._confirmed_at = 0.0

    @property
    def has_joined(self) -> bool:
        """Whether this is a replica that may run turns."""
        return self._own.is_on

    async def join(self) -> None:
        """Join as a replica. One that was declared dead joins again under another name."""
        process = await self._settings.liveness.name()
        own = _Membership(process, f"{process}:{secrets.token_hex(8)}")
        await self._list(own)
        await self._enlist(own)
        own.is_on = True
        self._own, self._confirmed_at = own, time.monotonic()
        await self.clear()

    async def leave(self) -> None:
        """Leave as a replica: the turns that are still listed can be taken over at once."""
        if self._own.is_on:
            self._own.is_on, self._own.has_left = False, True
            await self._list(self._own)

    async def begin(self, caller: Caller, response_id: str, journal: Journal, request: bytes) -> None:
        """Record the start of a turn with its request.

        Raises:
            StoreUnavailable: This process has not joined as a replica at the moment.
        """
        own = self._own
        if not own.is_on:
            raise StoreUnavailable(_FENCED)
        parts = [request[start : start + _PART_BYTES] for start in range(0, len(request), _PART_BYTES)]
        journal = replace(journal, owner=own.name, request_parts=len(parts))
        keys = [Key(REQUEST, f"{response_id}:{n}") for n in range(len(parts))]
        rows = [Write(key, part) for key, part in zip(keys, parts, strict=True)]
        try:
            try:
                await self._hold(own, response_id, journal, ABSENT, rows)
            except StoreConflict:  # A try to begin that failed may have left its journal.
                if (found := await read_value(self._store, _ALL, Key(JOURNAL, response_id))) is None:
                    raise
                await self._hold(own, response_id, journal, found.etag, rows)
        except StoreConflict:
            raise StoreUnavailable(_FENCED) from None
        except StoreUnavailable:  # The journal may have been written, but no caller hears of this turn.
            self._end(own, response_id)
            raise

    async def take(self, response_id: str) -> tuple[Journal, bytes] | None:
        """Take over a turn of a replica that has ended; `None` if there is none."""
        own = self._own
        found = await read_value(self._store, _ALL, Key(JOURNAL, response_id))
        if found is None:
            own.held.pop(response_id, None)
            return None
        if response_id in own.ended:
            return None
        journal = found.load(Journal)
        if response_id in own.held:
            if not await self.holds(_ALL, response_id):
                return None
        else:
            # It is ours if the answer was lost when it was taken.
            if journal.owner != own.name and await self._is_alive(journal.owner):
                return None
            try:
                journal = replace(journal, owner=own.name)
                await self._hold(own, response_id, journal, found.etag)
            except StoreConflict:
                return None
        own.parts[response_id] = journal.request_parts
        keys = [Key(REQUEST, f"{response_id}:{n}") for n in range(journal.request_parts)]
        parts = await self._store.read(_ALL, keys) if keys else []
        return journal, b"".join(part.value for part in parts if part is not None)

    async def end(self, response_id: str) -> None:
        """Delete the records of a turn, once its outcome was reported. If that fails, `check` repeats it."""
        own = self._own
        if response_id in own.held:
            self._end(own, response_id)
            await self._list(own)

    def _end(self, own: _Membership, response_id: str) -> None:
        journal = Write(Key(JOURNAL, response_id), None, own.held.pop(response_id, ABSENT))
        parts = range(own.parts.pop(response_id, 0))
        own.ended[response_id] = [journal, *(Write(Key(REQUEST, f"{response_id}:{n}"), None) for n in parts)]

    async def write(self, caller: Caller, response_id: str, journal: Journal) -> None:
        """Store the progress of the turn; raises `StoreConflict` when another replica has taken it."""
        own = self._own
        if (etag := own.held.get(response_id)) is None:
            raise StoreConflict(f"The turn of {response_id} is not held here.")
        journal = replace(journal, owner=own.name, request_parts=own.parts[response_id])
        key, value = Key(JOURNAL, response_id), dump_value(JOURNAL, journal)
        try:
            (written,) = await self._store.write(_ALL, [Write(key, value, etag)])
        except StoreConflict:
            if not await self.holds(caller, response_id):
                raise
            (written,) = await self._store.write(_ALL, [Write(key, value, own.held[response_id])])
        own.held[response_id] = written

    async def holds(self, caller: Caller, response_id: str) -> bool:
        """Whether the turn still belongs to this replica."""
        found = await read_value(self._store, _ALL, Key(JOURNAL, response_id))
        own = self._own
        if response_id not in own.held:
            return False
        if found is None or found.load(Journal).owner != own.name:
            del own.held[response_id]
            return False
        own.held[response_id] = found.etag
        return True

    def forget_later(self, caller: Caller, response_id: str) -> None:
        """Does nothing: `end` deletes the journal once the outcome was reported."""

    async def confirm(self) -> None:
        """Check that this replica may still write, which costs nothing while it is in contact with the store.

        Raises:
            Conflict: It was declared dead.
            StoreError: The store is not available.
        """
        if not self._own.is_on or await self._settings.liveness.name() != self._own.process:
            raise Conflict(_FENCED)
        if time.monotonic() - self._confirmed_at > self._settings.seconds / 2:
            await self.check()

    async def check(self) -> None:
        """Check that this replica was not declared dead, and renew its lifetime after half of it.

        Raises:
            Conflict: It was declared dead.
            StoreError: The store is not available.
        """
        began, own = time.monotonic(), self._own
        async with self._listing:
            replica = await self._reread(own)
            if replica is None or await self._settings.liveness.name() != own.process:
                own.is_on = False
                raise Conflict(_FENCED)
        if self._settings.is_due(replica.expires_at):
            await self._enlist(own)  # The list of all replicas would expire if none joined or left for long.
            await self._list(own)
        elif own.ended:
            await self._list(own)
        self._confirmed_at = began

    async def lives(self, process: str) -> bool:
        """Whether a process has a replica that has neither ended nor been found dead."""
        found = await read_value(self._store, _ALL, self._every)
        names = [name for name in (found.value["names"] if found is not None else ()) if _process(name) == process]
        return any(row is not None and not row.load(_Replica).has_ended for row in await self._read(names))

    async def orphans(self) -> list[str]:
        """The turns of ended replicas, which this one may take over. Those replicas can no longer write."""
        found = await read_value(self._store, _ALL, self._every)
        others = [name for name in found.value["names"] if name != self._own.name] if found else []
        turns: list[str] = []
        for name, row in zip(others, await self._read(others), strict=True):
            if row is not None and await self._is_fenced(name, row):
                turns += row.load(_Replica).turns
        return turns

    async def clear(self) -> None:
        """Remove ended replicas whose turns were taken over from the list."""
        found = await read_value(self._store, _ALL, self._every)
        if found is None:
            return
        names: list[str] = found.value["names"]
        gone: list[str] = []
        for name, row in zip(names, await self._read(names), strict=True):
            replica = row.load(_Replica) if row is not None else _Replica(has_ended=True)
            if name != self._own.name and replica.has_ended and not await self._owned(name, replica.turns):
                gone.append(name)
        if gone and await self._put_names([name for name in names if name not in gone], found.etag):
            await self._store.delete(_ALL, [Key(TURNS, name) for name in gone])

    async def _owned(self, name: str, turns: Sequence[str]) -> bool:
        """Whether a turn still belongs to a replica."""
        found = await read_values(self._store, _ALL, [Key(JOURNAL, turn) for turn in turns]) if turns else []
        return any(row is not None and row.load(Journal).owner == name for row in found)

    async def _hold(
        self, own: _Membership, response_id: str, journal: Journal, expect: Etag, rows: Sequence[Write] = ()
    ) -> None:
        """List a turn and journal it, in one transaction if possible: an unlisted turn would be lost.

        It stays listed if it is unknown whether it was journaled.
        """
        own.held[response_id] = ABSENT
        own.ended.pop(response_id, None)
        own.parts[response_id] = journal.request_parts
        row = Write(Key(JOURNAL, response_id), dump_value(JOURNAL, journal), expect)
        try:
            own.held[response_id] = (await self._list(own, *rows, row))[-1]
        except StoreError as error:
            if not isinstance(error, StoreUnavailable):
                own.held.pop(response_id, None)
            raise

    async def _enlist(self, own: _Membership) -> None:
        def enlisted(value: Value | None) -> Value:
            return {"names": list(dict.fromkeys([*(value["names"] if value is not None else ()), own.name]))}

        await change_value(self._store, _ALL, self._every, enlisted)

    async def _list(self, own: _Membership, *rows: Write) -> list[Etag]:
        """Write the list of turns together with other writes. Continues when it is cancelled."""
        task = asyncio.create_task(self._listed(own, rows), name="hostedagent-turns")
        self._listings.add(task)
        task.add_done_callback(self._listings.discard)
        return await asyncio.shield(task)

    async def _listed(self, own: _Membership, rows: Sequence[Write]) -> list[Etag]:
        async with self._listing:
            if rows and not own.is_on:
                raise StoreConflict(_FENCED)
            replica, ended = _Replica(tuple(own.held), self._settings.expiry(), own.has_left), dict(own.ended)
            value = dump_value(TURNS, replica)
            try:
                etags = await self._store.write(_ALL, [Write(own.key, value, own.etag), *rows, *chain(*ended.values())])
            except StoreConflict:
                if await self._reread(own) is None:
                    raise
                kept = await self._still_own(own, ended)
                etags = await self._store.write(_ALL, [Write(own.key, value, own.etag), *rows, *kept])
            own.etag = etags[0]
            for response_id in ended:
                own.ended.pop(response_id, None)
            return list(etags[1 : len(rows) + 1])

    async def _still_own(self, own: _Membership, ended: Mapping[str, Sequence[Write]]) -> list[Write]:
        """The erasures of the ended turns that no other replica has begun or taken over."""
        found = await read_values(self._store, _ALL, [Key(JOURNAL, turn) for turn in ended]) if ended else []
        erased: list[Write] = []
        for (journal, *parts), row in zip(ended.values(), found, strict=True):
            if row is not None and row.load(Journal).owner == own.name:
                erased += [replace(journal, expect=row.etag), *parts]
        return erased

    async def _reread(self, own: _Membership) -> _Replica | None:
        """Its record as it is stored, which the next write replaces; `None` if it was declared dead."""
        found = await read_value(self._store, _ALL, own.key)
        replica = found.load(_Replica) if found is not None else None
        if found is None or replica is None or replica.has_ended:
            return None
        own.etag = found.etag
        return replica

    async def _put_names(self, names: Sequence[str], expect: Etag) -> bool:
        try:
            row = Write(self._every, dump_value(REPLICAS, {"names": list(names)}), expect)
            await self._store.write(_ALL, [row])
        except StoreConflict:
            return False
        return True

    async def _read(self, names: Sequence[str]) -> list[Versioned | None]:
        return await read_values(self._store, _ALL, [Key(TURNS, name) for name in names]) if names else []

    async def _is_alive(self, name: str) -> bool:
        """Whether a replica may still write: it has not ended and was not declared dead."""
        (row,) = await self._read([name])
        return row is not None and not row.load(_Replica).has_ended

    async def _is_fenced(self, name: str, row: Versioned) -> bool:
        """Whether a replica has ended. One that was declared dead finds its own record changed."""
        replica = row.load(_Replica)
        if replica.has_ended:
            return True
        is_late = replica.expires_at <= self._settings.clock()
        if not is_late and not await self._settings.liveness.is_dead(_process(name)):
            return False
        ended = dump_value(TURNS, replace(replica, has_ended=True))
        try:
            await self._store.write(_ALL, [Write(Key(TURNS, name), ended, row.etag)])
        except StoreConflict:
            return False
        return True


def _process(name: str) -> str:
    """The process of a replica."""
    return name.partition(":")[0]
