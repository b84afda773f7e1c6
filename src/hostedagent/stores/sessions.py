"""What a conversation remembers beside its transcript: snapshots by response, and the head of each conversation.

A response has a snapshot only if there is something to keep, so that any `previous_response_id` can be continued and
branched. A conversation has one record: its head, the items that failed turns left, and a lease that one turn holds
while it works. Leases expire, so a process that died never locks a conversation for good.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Final, cast

from hostedagent.errors import Conflict
from hostedagent.identity import Scope
from hostedagent.stores.state import ABSENT, Etag, StateConflict, StateStore, Value
from hostedagent.types import Json

logger = logging.getLogger(__name__)

TURN: Final = "turn"
CONVERSATION: Final = "conversation"

LEASE_SECONDS: Final = 60.0
"""How long a lease stands without being renewed."""

RENEW_SECONDS: Final = 20.0

ENDING_SECONDS: Final = 6.0
"""How long a turn waits for one that was stopped to let go of the conversation."""

_MAX_EXCLUDED: Final = 2_000
_CACHED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Question:
    """An approval request whose call has not run.

    Args:
        request_id: The id that Agent Framework waits for.
        call_id: The call.
        name: The tool.
        arguments: Its arguments, as JSON.
        hosted: Whether the model's provider runs the tool.
        batch: The response that asked first; what was asked together is run together.
    """

    request_id: str
    call_id: str | None
    name: str
    arguments: str
    hosted: bool
    batch: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one response leaves for the turns that continue it.

    Args:
        session: `AgentSession.to_dict()`, without a transcript where the host keeps that.
        approvals: The ids of the approval requests that the response asks.
        open: Questions whose calls have not run, by their ids on the wire; carried along until they have.
        excluded: Items of the response that no prompt may see, because its turn failed.
    """

    session: Mapping[str, Json] | None = None
    approvals: tuple[str, ...] = ()
    open: Mapping[str, Question] = field(default_factory=dict[str, "Question"])
    excluded: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to keep."""
        return bool(self.session or self.approvals or self.open or self.excluded)

    def dump(self) -> Value:
        """The stored form."""
        return {
            "session": self.session,
            "approvals": list(self.approvals),
            "open": {item_id: asdict(question) for item_id, question in self.open.items()},
            "excluded": list(self.excluded),
        }

    @classmethod
    def load(cls, value: Value) -> Snapshot:
        """From the stored form."""
        waiting = cast("Mapping[str, dict[str, Json]]", value.get("open") or {})
        return cls(
            session=value.get("session"),
            approvals=tuple(value.get("approvals") or ()),
            open={item_id: Question(**question) for item_id, question in waiting.items()},
            excluded=tuple(value.get("excluded") or ()),
        )


@dataclass(frozen=True, slots=True)
class Head:
    """A conversation's record."""

    response_id: str | None = None
    excluded: tuple[str, ...] = ()
    has_snapshot: bool = False
    owner: str | None = None
    expires_at: float = 0.0

    def dump(self) -> Value:
        """The stored form."""
        return {
            "head": self.response_id,
            "excluded": list(self.excluded),
            "has_snapshot": self.has_snapshot,
            "owner": self.owner,
            "expires_at": self.expires_at,
        }

    @classmethod
    def load(cls, value: Value) -> Head:
        """From the stored form."""
        return cls(
            value.get("head"),
            tuple(value.get("excluded") or ()),
            bool(value.get("has_snapshot")),
            value.get("owner"),
            float(value.get("expires_at") or 0.0),
        )


@dataclass(slots=True)
class Lease:
    """A turn's hold on a conversation.

    Args:
        scope: Whose conversation.
        conversation_id: Which.
        head: The record as it stands.
        etag: What the next write of the record must expect.
        was_abandoned: Whoever held it before let it expire.
        is_ending: The turn was stopped and is winding up: the next turn waits for it instead of being refused.
    """

    scope: Scope
    conversation_id: str
    head: Head
    etag: Etag
    was_abandoned: bool = False
    is_ending: bool = False
    released: asyncio.Event = field(default_factory=asyncio.Event)
    renewal: asyncio.Task[None] | None = None


class Sessions:
    """A typed view of the state store.

    Args:
        state: Where the records are.
        clock: Seconds since the epoch; processes that share the state must agree on it roughly.
    """

    def __init__(self, state: StateStore, *, clock: Callable[[], float] = time.time) -> None:
        self._state = state
        self._clock = clock
        self._known: OrderedDict[str, tuple[Head, Etag]] = OrderedDict()
        self._held: dict[str, Lease] = {}

    async def resume(self, scope: Scope, response_id: str) -> Snapshot:
        """What a response left. A lost record is no error: the transcript is elsewhere."""
        stored = await self._state.get(scope, TURN, response_id)
        return Snapshot.load(stored.value) if stored is not None else Snapshot()

    async def acquire(self, scope: Scope, conversation_id: str) -> Lease:
        """Take the lease of a conversation, before anything is spent on the turn.

        Raises:
            Conflict: Another turn holds it.
        """
        place = scope.key(CONVERSATION, conversation_id)
        await self._wait_for_ending(place)
        head, etag = self._known.get(place, (Head(), ABSENT))
        while True:
            now = self._clock()
            if head.owner is not None and head.expires_at > now:
                fresh = await self._state.get(scope, CONVERSATION, conversation_id)
                if fresh is None or fresh.etag == etag:
                    raise Conflict(
                        f"Another turn of conversation {conversation_id!r} is running. Try again when it has ended.",
                        param="conversation",
                    )
                head, etag = Head.load(fresh.value), fresh.etag
                continue
            held = Head(head.response_id, head.excluded, head.has_snapshot, secrets.token_hex(8), now + LEASE_SECONDS)
            try:
                etag = await self._state.put(scope, CONVERSATION, conversation_id, held.dump(), expect=etag)
            except StateConflict:
                fresh = await self._state.get(scope, CONVERSATION, conversation_id)
                head, etag = (Head.load(fresh.value), fresh.etag) if fresh is not None else (Head(), ABSENT)
                continue
            self._remember(place, held, etag)
            lease = Lease(scope, conversation_id, held, etag, was_abandoned=head.owner is not None)
            self._held[place] = lease
            return lease

    async def _wait_for_ending(self, place: str) -> None:
        lease = self._held.get(place)
        if lease is not None and lease.is_ending:
            with suppress(TimeoutError):
                await asyncio.wait_for(lease.released.wait(), ENDING_SECONDS)

    async def head(self, scope: Scope, conversation_id: str) -> Head:
        """The conversation's record as it stands, for a turn that changes nothing."""
        stored = await self._state.get(scope, CONVERSATION, conversation_id)
        return Head.load(stored.value) if stored is not None else Head()

    def keep(self, lease: Lease) -> None:
        """Renew the lease until it is released, for turns that take long."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(RENEW_SECONDS)
                head = lease.head
                longer = Head(
                    head.response_id, head.excluded, head.has_snapshot, head.owner, self._clock() + LEASE_SECONDS
                )
                await self._write(lease, longer)

        lease.renewal = asyncio.create_task(renew(), name="hostedagent-lease")

    async def release(
        self, lease: Lease, *, response_id: str | None = None, excluded: Sequence[str] = (), has_snapshot: bool = False
    ) -> None:
        """Give the lease back; with `response_id`, that response is the new head.

        Raises:
            Conflict: The lease had expired and another turn took the conversation.
        """
        if lease.renewal is not None:
            lease.renewal.cancel()
        self._held.pop(lease.scope.key(CONVERSATION, lease.conversation_id), None)
        try:
            await self._release(lease, response_id, excluded, has_snapshot)
        finally:
            lease.released.set()

    async def _release(
        self, lease: Lease, response_id: str | None, excluded: Sequence[str], has_snapshot: bool
    ) -> None:
        head = lease.head
        kept = (*head.excluded, *excluded)[-_MAX_EXCLUDED:]
        if response_id is None:
            free = Head(head.response_id, kept, head.has_snapshot)
        else:
            free = Head(response_id, kept, has_snapshot)
        await self._write(lease, free)

    async def _write(self, lease: Lease, head: Head) -> None:
        place = lease.scope.key(CONVERSATION, lease.conversation_id)
        try:
            lease.etag = await self._state.put(
                lease.scope, CONVERSATION, lease.conversation_id, head.dump(), expect=lease.etag
            )
        except StateConflict:
            self._known.pop(place, None)
            raise Conflict("The turn lost its hold on the conversation.", param="conversation") from None
        lease.head = head
        self._remember(place, head, lease.etag)

    async def save(self, scope: Scope, response_id: str, snapshot: Snapshot) -> None:
        """Keep what a response leaves, if it leaves anything."""
        if snapshot:
            await self._state.put(scope, TURN, response_id, snapshot.dump())

    async def forget(self, scope: Scope, response_id: str) -> Snapshot:
        """Delete what a response left, and return it."""
        stored = await self._state.get(scope, TURN, response_id)
        if stored is None:
            return Snapshot()
        await self._state.delete(scope, TURN, response_id)
        return Snapshot.load(stored.value)

    def _remember(self, place: str, head: Head, etag: Etag) -> None:
        self._known[place] = (head, etag)
        self._known.move_to_end(place)
        while len(self._known) > _CACHED:
            self._known.popitem(last=False)
