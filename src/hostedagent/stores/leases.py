"""Who works in a conversation: one record with its head and the lease that one turn holds while it works.

The head moves by compare-and-set, and only by the turn that holds the lease. Leases expire, so that a process that
died locks nothing for good; where the store can tell that a process died, its leases end with it. A turn that finds
that its lease is gone says so in `Lease.lost`: it must stop, and nothing of it may become the head.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from hostedagent.errors import Busy, Conflict
from hostedagent.identity import Caller
from hostedagent.observability.logging import log_failure
from hostedagent.stores.base import ABSENT, Etag, Key, Store, StoreConflict
from hostedagent.stores.heads import MAX_EXCLUDED, Debt, Head, joined
from hostedagent.stores.recent import Recent
from hostedagent.stores.values import read_value, write_value

logger = logging.getLogger(__name__)

CONVERSATION: Final = "conversation"

ENDING_SECONDS: Final = 6.0
"""How long a turn waits for one that was stopped to let go of the conversation."""

_CACHED: Final = 2_000
_ATTEMPTS: Final = 4


class Owners(Protocol):
    """Knows the processes that share a store."""

    async def name(self) -> str:
        """The name of this process; no other process ever has the same."""
        ...

    async def is_dead(self, name: str) -> bool:
        """Whether the process of that name has surely ended."""
        ...


class UnknownOwners:
    """For stores that cannot tell: the leases of a process that died stand until they expire."""

    async def name(self) -> str:
        """No name."""
        return ""

    async def is_dead(self, name: str) -> bool:
        """Nobody knows."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms of leases.

    Args:
        seconds: How long a lease stands without being renewed.
        renew_every: Seconds between renewals.
        clock: Seconds since the epoch; processes that share the state must agree on it roughly.
        sleep: Waits between renewals.
        owners: Knows which processes have ended.
    """

    seconds: float = 60.0
    renew_every: float = 20.0
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    owners: Owners = field(default_factory=UnknownOwners)


@dataclass(slots=True)
class Lease:
    """A turn's hold on a conversation.

    Args:
        caller: Whose conversation.
        conversation_id: Which.
        head: The record as it stands.
        etag: What the next write of the record must expect.
        owner: Who holds it.
        was_abandoned: The holder before never released it.
        is_ending: The turn was stopped and is winding up: the next turn waits for it instead of being refused.
        lost: Set when another turn has the conversation.
        attempt: A write of which nobody knows whether it happened.
        response_id: The response that the turn wanted to be the head.
    """

    caller: Caller
    conversation_id: str
    head: Head
    etag: Etag
    owner: str
    was_abandoned: bool = False
    is_ending: bool = False
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    renewal: asyncio.Task[None] | None = None
    attempt: Head | None = None
    response_id: str | None = None

    @property
    def place(self) -> str:
        """The key of the conversation."""
        return self.caller.scope.key(CONVERSATION, self.conversation_id)


class Leases:
    """Gives out the leases of conversations. A plain turn costs two writes: one to take it, one to give it back."""

    def __init__(self, store: Store, terms: Terms) -> None:
        self._store = store
        self._terms = terms
        self._known: Recent[str, tuple[Head, Etag]] = Recent(_CACHED)
        self._held: dict[str, Lease] = {}
        self._over: Recent[str, None] = Recent(_CACHED)
        self._debts: Recent[str, Debt] = Recent(_CACHED)

    async def head(self, caller: Caller, conversation_id: str) -> Head:
        """The conversation's record as it stands, for a turn that changes nothing."""
        return (await self._read(caller, conversation_id))[0]

    async def acquire(self, caller: Caller, conversation_id: str) -> Lease:
        """Take the lease of a conversation, before anything is spent on the turn.

        Raises:
            Busy: Another turn holds it.
        """
        place = caller.scope.key(CONVERSATION, conversation_id)
        await self._wait_for_ending(place)
        owner = f"{await self._terms.owners.name()}:{secrets.token_hex(8)}"
        is_fresh = place not in self._known
        head, etag = self._known.get(place, (Head(), ABSENT))
        while True:
            if await self._is_held(head):
                if is_fresh:
                    raise Busy(
                        f"Another turn of conversation {conversation_id!r} is running. Try again when it has ended.",
                        param="conversation",
                    )
                head, etag = await self._read(caller, conversation_id)
                is_fresh = True
                continue
            debt = self._debts.get(place)
            due = debt.paid(head) if debt is not None else head
            held = replace(due, owner=owner, expires_at=self._terms.clock() + self._terms.seconds)
            try:
                etag = await self._put(caller, conversation_id, held, etag)
            except StoreConflict:
                head, etag = await self._read(caller, conversation_id)
                is_fresh = True
            except BaseException:
                self._end(owner)  # It may have been written; then it must not keep out a retry.
                raise
            else:
                break
        self._debts.pop(place, None)
        self._remember(place, held, etag)
        lease = Lease(caller, conversation_id, held, etag, owner, was_abandoned=head.owner is not None)
        self._held[place] = lease
        return lease

    async def adopt(self, caller: Caller, conversation_id: str, owner: str) -> Lease | None:
        """Take up the lease that the same turn held in an earlier process.

        Args:
            caller: Whose conversation.
            conversation_id: Which.
            owner: Who held the lease then.

        Returns:
            The lease; `None` when another turn has, or had, the conversation since.
        """
        head, etag = await self._read(caller, conversation_id)
        turn = _turn(owner)
        if head.owner is None or _turn(head.owner) != turn:
            return None
        # A name of its own: a holder in the earlier process finds that it is lost.
        owner = f"{await self._terms.owners.name()}:{turn}:{secrets.token_hex(4)}"
        held = replace(head, owner=owner, expires_at=self._terms.clock() + self._terms.seconds)
        try:
            etag = await self._put(caller, conversation_id, held, etag)
        except StoreConflict:
            return None
        lease = Lease(caller, conversation_id, held, etag, owner)
        self._remember(lease.place, held, etag)
        self._held[lease.place] = lease
        return lease

    async def hand_on(self, lease: Lease) -> None:
        """Stop renewing the lease without giving it back: the turn goes on in another process."""
        if lease.renewal is not None:
            lease.renewal.cancel()
            await asyncio.wait((lease.renewal,))

    def keep(self, lease: Lease) -> None:
        """Renew the lease until it is released, for turns that take long."""
        lease.renewal = asyncio.create_task(self._renew(lease), name="hostedagent-lease")

    async def secure(self, lease: Lease) -> None:
        """See that the lease stands for long enough to store how the turn ended.

        Raises:
            Conflict: Another turn has the conversation.
        """
        if lease.lost.is_set():
            raise _lost()
        if lease.head.expires_at - self._terms.clock() < self._terms.seconds / 2:
            await self._extend(lease)

    async def release(
        self, lease: Lease, *, response_id: str | None = None, excluded: Sequence[str] = (), has_snapshot: bool = False
    ) -> None:
        """Give the lease back; with `response_id`, that response is the new head.

        Raises:
            Conflict: The lease had expired and another turn took the conversation.
        """
        try:
            if lease.renewal is not None:
                lease.renewal.cancel()
                await asyncio.wait((lease.renewal,))
            head = lease.head
            lease.response_id = response_id or lease.response_id
            kept = (*head.excluded, *excluded)[-MAX_EXCLUDED:]
            if response_id is None:
                free = Head(head.response_id, kept, head.has_snapshot)
            else:
                free = Head(response_id, kept, has_snapshot)
            await self._write(lease, free)
            self._debts.pop(lease.place, None)
        except BaseException as error:
            self._end(lease.owner)
            if isinstance(error, Conflict):
                await self._exclude(lease, excluded)
            else:
                self._owe(lease.place, Debt(lease.head, lease.response_id, tuple(excluded)))
            raise
        finally:
            if self._held.get(lease.place) is lease:
                del self._held[lease.place]
            lease.released.set()

    async def _exclude(self, lease: Lease, excluded: Sequence[str]) -> None:
        """Keep what a turn has stored out of the prompts of the conversation that it has lost."""
        for _ in range(_ATTEMPTS if excluded else 0):
            head, etag = await self._read(lease.caller, lease.conversation_id)
            kept = replace(head, excluded=joined(head.excluded, excluded))
            with suppress(StoreConflict):
                await self._put(lease.caller, lease.conversation_id, kept, etag)
                return

    async def _renew(self, lease: Lease) -> None:
        while True:
            await self._terms.sleep(self._terms.renew_every)
            try:
                await self._extend(lease)
            except Conflict:
                return
            except Exception as error:  # noqa: BLE001 - tried again while the lease stands
                log_failure(logger, "Renewing the hold on a conversation failed", error)
                if lease.head.expires_at <= self._terms.clock():
                    lease.lost.set()
                    return

    async def _extend(self, lease: Lease) -> None:
        await self._write(lease, replace(lease.head, expires_at=self._terms.clock() + self._terms.seconds))

    async def _write(self, lease: Lease, head: Head) -> None:
        """Write the record if the lease still holds it. A write of ours whose answer was lost does not take it away."""
        etag, lost = lease.etag, False
        for _ in range(_ATTEMPTS):
            try:
                etag = await self._put(lease.caller, lease.conversation_id, head, etag)
            except StoreConflict:
                current, etag = await self._read(lease.caller, lease.conversation_id)
                if current == head:
                    break
                lost = current.owner != lease.owner and etag != ABSENT and current != lease.attempt
                if lost:
                    break
                head = replace(head, excluded=joined(head.excluded, current.excluded))
            except BaseException:
                lease.attempt = head
                raise
            else:
                break
        else:
            lost = True
        if lost:
            self._known.pop(lease.place, None)
            lease.lost.set()
            raise _lost()
        lease.head, lease.etag, lease.attempt = head, etag, None
        self._remember(lease.place, head, etag)

    async def _put(self, caller: Caller, conversation_id: str, head: Head, expect: Etag) -> Etag:
        key = Key(CONVERSATION, conversation_id)
        return await write_value(self._store, caller, key, head.dump(), expect=expect)

    async def _read(self, caller: Caller, conversation_id: str) -> tuple[Head, Etag]:
        stored = await read_value(self._store, caller, Key(CONVERSATION, conversation_id))
        return (Head.load(stored.value), stored.etag) if stored is not None else (Head(), ABSENT)

    async def _is_held(self, head: Head) -> bool:
        if head.owner is None or head.expires_at <= self._terms.clock() or head.owner in self._over:
            return False
        return not await self._terms.owners.is_dead(head.owner.partition(":")[0])

    async def _wait_for_ending(self, place: str) -> None:
        lease = self._held.get(place)
        if lease is not None and lease.is_ending:
            with suppress(TimeoutError):
                async with asyncio.timeout(ENDING_SECONDS):
                    await lease.released.wait()

    def _owe(self, place: str, debt: Debt) -> None:
        self._debts[place] = debt

    def _end(self, owner: str) -> None:
        """Remember that a turn of this process has ended, also if the record still names it."""
        self._over[owner] = None

    def _remember(self, place: str, head: Head, etag: Etag) -> None:
        self._known[place] = (head, etag)


def _turn(owner: str) -> str:
    """The turn in the name of an owner, which says the process first."""
    return owner.split(":")[1]


def _lost() -> Conflict:
    return Conflict("The turn lost its hold on the conversation.", param="conversation")
