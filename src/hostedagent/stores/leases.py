"""Leases on conversations: one record with the head of a conversation and the lease of its running turn.

Only the turn that holds the lease moves the head, by compare-and-set. Leases expire, so that a dead process locks no
conversation permanently; if the store can detect that the process died, its leases end at once. A turn that finds its
lease lost sets `Lease.state`: it must stop, and must not become the head.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Literal, TypeAlias

from msgspec import Struct, field
from msgspec.structs import replace

from hostedagent.errors import Busy, Conflict
from hostedagent.identity import Caller
from hostedagent.observability.logging import log_failure
from hostedagent.stores.base import ABSENT, Etag, Key, Store, StoreConflict, Write
from hostedagent.stores.batch import Part, write_batch
from hostedagent.stores.heads import Head, PendingRelease, Version, joined
from hostedagent.stores.lease_settings import LeaseSettings
from hostedagent.stores.recent import Recent
from hostedagent.stores.retry import Retries
from hostedagent.stores.values import dump_value, read_value, write_value

logger = logging.getLogger(__name__)

CONVERSATION: Final = "conversation"

LeaseState: TypeAlias = Literal["held", "ending", "lost", "released"]
"""State of a lease: held by its turn; held while the turn cleans up after a stop, so that the next one waits instead of
being refused; lost to another turn; released."""

_NEXT: Final[dict[LeaseState, tuple[LeaseState, ...]]] = {
    "held": ("ending", "lost", "released"),
    "ending": ("lost", "released"),
    "lost": (),
    "released": (),
}

ENDING_SECONDS: Final = 6.0
"""Seconds that a turn waits for a stopped one to release the conversation."""

_CACHED: Final = 2_000
_ATTEMPTS: Final = 4


class Lease(Struct):
    """A turn's hold on a conversation.

    Args:
        etag: The etag that the next write must expect.
        was_abandoned: The holder before never released it.
        attempts: Writes whose result is unknown.
        response_id: The response that the turn wanted to be the head.
    """

    caller: Caller
    conversation_id: str
    head: Head
    etag: Etag
    owner: str
    was_abandoned: bool = False
    state: LeaseState = "held"
    renewal: asyncio.Task[None] | None = None
    attempts: list[Head] = field(default_factory=list[Head])
    response_id: str | None = None
    on_change: set[Callable[[], None]] = field(default_factory=set[Callable[[], None]])

    def enter(self, state: LeaseState) -> None:
        """Enter a later state and notify observers."""
        if state in _NEXT[self.state]:
            self.state = state
            for tell in tuple(self.on_change):
                tell()

    async def until_over(self) -> None:
        """Wait until the turn has released or lost it."""
        changed = asyncio.Event()
        self.on_change.add(changed.set)
        try:
            while self.state in ("held", "ending"):
                await changed.wait()
                changed.clear()
        finally:
            self.on_change.discard(changed.set)

    @property
    def place(self) -> str:
        """The key of the conversation."""
        return self.caller.scope.key(CONVERSATION, self.conversation_id)


async def read_head(store: Store, caller: Caller, key: Key) -> tuple[Head, Etag]:
    """A record with the etag that its next write must expect; an empty one if there is none."""
    stored = await read_value(store, caller, key)
    return (stored.load(Head), stored.etag) if stored is not None else (Head(), ABSENT)


class Leases:
    """Manages the leases of conversations. A plain turn costs two writes: one to acquire and one to release."""

    def __init__(self, store: Store, settings: LeaseSettings) -> None:
        self._store = store
        self.settings = settings
        self._known: Recent[str, tuple[Head, Etag]] = Recent(_CACHED)
        self._held: dict[str, Lease] = {}
        self._over: Recent[str, None] = Recent(_CACHED)
        self._pending: Recent[str, PendingRelease] = Recent(_CACHED)
        self.retries = Retries()

    async def head(self, caller: Caller, conversation_id: str) -> Head:
        """The current record of the conversation, for a turn that changes nothing."""
        return (await self._read(caller, conversation_id))[0]

    async def acquire(self, caller: Caller, conversation_id: str, response_id: str = "") -> Lease:
        """Acquire the lease of a conversation, before the turn costs anything.

        Args:
            response_id: The response of the turn, if it has been named: two processes may try to begin the same one.

        Raises:
            Busy: Another turn holds it.
        """
        place = caller.scope.key(CONVERSATION, conversation_id)
        await self._wait_for_ending(place)
        owner = _owner(await self.settings.liveness.name(), response_id)
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
            pending = self._pending.get(place)
            current = pending.applied(head) if pending is not None else head
            held = replace(current, owner=owner, expires_at=self.settings.expiry())
            try:
                etag = await self._put(caller, conversation_id, held, etag)
            except StoreConflict:
                head, etag = await self._read(caller, conversation_id)
                is_fresh = True
            except BaseException:
                self._end(owner)  # It may have been written, and then must not block a retry.
                self._free_later(caller, conversation_id, owner)
                raise
            else:
                break
        self._pending.pop(place, None)
        self._known[place] = held, etag
        lease = Lease(caller, conversation_id, held, etag, owner, was_abandoned=head.owner is not None)
        self._held[place] = lease
        return lease

    async def take_over(self, caller: Caller, conversation_id: str, owner: str, version: Version) -> Lease | None:
        """Take over the lease that the same turn held in an earlier process.

        Args:
            owner: The holder of the lease in the earlier process.
            version: The version of the record when the turn began: a lease that was released since, because it had
                expired, is acquired again as long as no turn has ended in the conversation.

        Returns:
            The lease; `None` if another turn has had the conversation since.
        """
        turn = _turn(owner)
        # A new owner name, so that a holder in the earlier process finds its lease lost.
        owner = _owner(await self.settings.liveness.name(), turn)
        while True:
            head, etag = await self._read(caller, conversation_id)
            is_ours = head.version == version if head.owner is None else _turn(head.owner) == turn
            if etag == ABSENT or not is_ours:
                return None
            held = replace(head, owner=owner, expires_at=self.settings.expiry())
            with suppress(StoreConflict):  # The earlier process may live, and renew it at the same time.
                etag = await self._put(caller, conversation_id, held, etag)
                break
        lease = Lease(caller, conversation_id, held, etag, owner)
        self._known[lease.place] = held, etag
        self._held[lease.place] = lease
        return lease

    async def detach(self, lease: Lease) -> None:
        """Stop renewing the lease without releasing it: the turn continues in another process."""
        if lease.renewal is not None:
            lease.renewal.cancel()
            await asyncio.wait((lease.renewal,))

    def keep(self, lease: Lease) -> None:
        """Renew the lease until it is released, for long turns."""
        lease.renewal = asyncio.create_task(self._renew(lease), name="hostedagent-lease")

    async def ensure_valid(self, lease: Lease) -> None:
        """Check that the lease is valid long enough to store the outcome of the turn.

        Raises:
            Busy: Another turn has the conversation.
        """
        if lease.state == "lost":
            raise _lost()
        if self.settings.is_due(lease.head.expires_at):
            await self._extend(lease)

    async def freeing(
        self, lease: Lease, *, response_id: str | None = None, excluded: Sequence[str] = (), has_snapshot: bool = False
    ) -> Part:
        """The change of the record that gives the lease back; call `let_go` when it is written.

        Args:
            lease: The lease, which is not renewed any more.
            response_id: The new head; by default the head stays.
        """
        await self.detach(lease)
        head = lease.head
        lease.response_id = response_id or lease.response_id
        kept = joined(head.excluded, excluded)
        if response_id is None:
            return _HeadChange(self, lease, Head(head.response_id, kept, head.has_snapshot))
        return _HeadChange(self, lease, Head(response_id, kept, has_snapshot))

    def let_go(self, lease: Lease) -> None:
        """The lease is given back: who waits for it may take it."""
        if self._held.get(lease.place) is lease:
            del self._held[lease.place]
        lease.enter("released")

    async def release(
        self, lease: Lease, *, response_id: str | None = None, excluded: Sequence[str] = (), has_snapshot: bool = False
    ) -> None:
        """Release the lease; with `response_id`, that response becomes the head.

        Raises:
            Busy: The lease had expired and another turn took the conversation.
        """
        try:
            change = await self.freeing(lease, response_id=response_id, excluded=excluded, has_snapshot=has_snapshot)
            await write_batch(self._store, lease.caller, [change])
        except BaseException as error:
            self._end(lease.owner)
            if isinstance(error, Conflict):
                await self._exclude(lease, excluded)
            else:
                self._pending[lease.place] = PendingRelease(lease.head, lease.response_id, tuple(excluded))
                self._free_later(lease.caller, lease.conversation_id, lease.owner)
            raise
        finally:
            self.let_go(lease)

    async def _exclude(self, lease: Lease, excluded: Sequence[str]) -> None:
        """Exclude the stored items of a turn that has lost its conversation."""
        for _ in range(_ATTEMPTS if excluded else 0):
            head, etag = await self._read(lease.caller, lease.conversation_id)
            kept = replace(head, excluded=joined(head.excluded, excluded))
            with suppress(StoreConflict):
                await self._put(lease.caller, lease.conversation_id, kept, etag)
                return

    async def _renew(self, lease: Lease) -> None:
        while True:
            await self.settings.sleep(self.settings.renew_every)
            try:
                await self._extend(lease)
            except Conflict:
                return
            except Exception as error:  # noqa: BLE001 - tried again while the lease is valid
                log_failure(logger, "Renewing the hold on a conversation failed", error)
                if lease.head.expires_at <= self.settings.clock():
                    lease.enter("lost")
                    return

    async def _extend(self, lease: Lease) -> None:
        await self._write(lease, replace(lease.head, expires_at=self.settings.expiry()))

    async def _write(self, lease: Lease, head: Head) -> None:
        """Write the record if the lease is still held, even if the answer to an earlier write of ours was lost."""
        await write_batch(self._store, lease.caller, [_HeadChange(self, lease, head)])

    async def check(self, lease: Lease) -> Head:
        """The record as it stands now, of which the next write of the lease may be the successor.

        Raises:
            Busy: Another turn has the conversation.
        """
        current, etag = await self._read(lease.caller, lease.conversation_id)
        if current.owner != lease.owner and etag != ABSENT and current not in lease.attempts:
            self._known.pop(lease.place, None)
            lease.enter("lost")
            raise _lost()
        lease.etag = etag
        return current

    def note(self, lease: Lease, head: Head, etag: Etag) -> None:
        """The record was written under the lease."""
        lease.head, lease.etag = head, etag
        lease.attempts.clear()
        self._known[lease.place] = head, etag
        if head.owner is None:
            self._pending.pop(lease.place, None)

    async def _put(self, caller: Caller, conversation_id: str, head: Head, expect: Etag) -> Etag:
        key = Key(CONVERSATION, conversation_id)
        return await write_value(self._store, caller, key, head, expect=expect)

    async def _read(self, caller: Caller, conversation_id: str) -> tuple[Head, Etag]:
        return await read_head(self._store, caller, Key(CONVERSATION, conversation_id))

    async def _is_held(self, head: Head) -> bool:
        return head.owner not in self._over and await self.settings.is_held(head)

    async def _wait_for_ending(self, place: str) -> None:
        lease = self._held.get(place)
        if lease is not None and lease.state == "ending":
            with suppress(TimeoutError):
                async with asyncio.timeout(ENDING_SECONDS):
                    await lease.until_over()

    def _free_later(self, caller: Caller, conversation_id: str, owner: str) -> None:
        """Let the lease expire for other processes as soon as the store answers: this one lives and is its owner."""

        async def free() -> None:
            head, etag = await self._read(caller, conversation_id)
            if head.owner == owner:  # It stays the owner, so that the next turn settles what was left.
                await self._put(caller, conversation_id, replace(head, expires_at=0.0), etag)

        self.retries.start(free, seconds=self.settings.seconds)

    def _end(self, owner: str) -> None:
        """Remember that a turn of this process has ended, even if the record still names it."""
        self._over[owner] = None


class _HeadChange(Struct):
    """A change of a conversation's record by the turn that has its lease."""

    leases: Leases
    lease: Lease
    head: Head

    async def writes(self, *, is_again: bool) -> Sequence[Write]:
        lease = self.lease
        if is_again:
            current = await self.leases.check(lease)
            self.head = replace(self.head, excluded=joined(self.head.excluded, current.excluded))
        lease.attempts.append(self.head)
        return [Write(Key(CONVERSATION, lease.conversation_id), dump_value(CONVERSATION, self.head), lease.etag)]

    def written(self, etags: Sequence[Etag]) -> None:
        self.leases.note(self.lease, self.head, etags[0])


def _owner(process: str, turn: str) -> str:
    return f"{process}:{turn or secrets.token_hex(8)}:{secrets.token_hex(4)}"


def _turn(owner: str) -> str:
    """The turn in the name of an owner, after the process."""
    return owner.split(":")[1]


def _lost() -> Busy:
    return Busy("The turn lost its hold on the conversation.", param="conversation")
