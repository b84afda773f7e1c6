"""The state of conversations besides their transcript: snapshots by response, and leases.

Snapshots belong to responses, so that any `previous_response_id` can be continued and branched. A response has one only
if there is something to keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field
from msgspec.structs import asdict, replace

from hostedagent.identity import Caller
from hostedagent.protocol.types import ApprovalRequest, Json
from hostedagent.stores.base import Key, Store, Value, Write
from hostedagent.stores.batch import Rows, write_batch
from hostedagent.stores.checkpoints import Checkpoints, WorkflowState
from hostedagent.stores.conversations import Conversations
from hostedagent.stores.idempotency import IdempotencyKeys
from hostedagent.stores.lease_settings import LeaseSettings
from hostedagent.stores.leases import CONVERSATION, Lease, Leases
from hostedagent.stores.seals import Seals
from hostedagent.stores.tokens import ContinuationTokens
from hostedagent.stores.values import dump_value, read_value, write_value

TURN: Final = "turn"


class Snapshot(Struct, frozen=True):
    """The state after one response, for the turns that continue it.

    Args:
        session: `AgentSession.to_dict()`, without the transcript if the host keeps it.
        approvals: The ids of the approval requests of the response.
        open: Approval requests whose calls have not run, by their ids on the wire; kept until the calls have run.
        excluded: Items of the response that must be in no prompt, because its turn failed.
        is_early: Whether it was saved before the response, and counts only if that has been completed since.
    """

    session: Mapping[str, Json] | None = None
    approvals: tuple[str, ...] = ()
    open: Mapping[str, ApprovalRequest] = field(default_factory=dict[str, ApprovalRequest])
    excluded: tuple[str, ...] = ()
    workflow: WorkflowState | None = None
    is_early: bool = False

    def __bool__(self) -> bool:
        """Whether there is anything to keep."""
        return bool(self.session or self.approvals or self.open or self.excluded or self.workflow)

    def check(self) -> None:
        """Check that it can be stored.

        Raises:
            ValueError: It is not JSON.
            StoreTooLarge: It is larger than `MAX_VALUE_BYTES`.
        """
        if self:
            dump_value(TURN, self.dump())

    def dump(self) -> Value:
        """The stored form, which has `is_early` only where it is set, as before there was one."""
        value = asdict(self)
        return value if self.is_early else {name: row for name, row in value.items() if name != "is_early"}


def saving(response_id: str, snapshot: Snapshot) -> Rows:
    """The part of a batch that keeps what a response leaves, if it leaves anything."""
    return Rows([Write(Key(TURN, response_id), dump_value(TURN, snapshot.dump()))] if snapshot else [])


class Sessions(Leases):
    """The snapshots of responses, and the leases of conversations."""

    def __init__(self, store: Store, leases: LeaseSettings | None = None) -> None:
        super().__init__(store, leases or LeaseSettings())
        self.checkpoints = Checkpoints(store)
        self.tokens = ContinuationTokens(store)
        self.conversations = Conversations(store)
        self.keys = IdempotencyKeys(store, self.settings, self.retries)
        self.seals = Seals(store)

    def holder(self, caller: Caller, conversation_id: str) -> Lease | None:
        """The lease of a conversation, if a turn of this process holds it."""
        return self._held.get(caller.scope.key(CONVERSATION, conversation_id))

    async def resume(self, caller: Caller, response_id: str) -> Snapshot:
        """The snapshot of a response. A lost record is not an error: the transcript is stored elsewhere."""
        stored = await read_value(self._store, caller, Key(TURN, response_id))
        snapshot = stored.load(Snapshot) if stored is not None else Snapshot()
        if snapshot.workflow is None or not snapshot.workflow.checkpoint.is_elsewhere:
            return snapshot
        stored = await read_value(self._store, caller, Key(TURN, snapshot.workflow.checkpoint.response_id))
        return replace(snapshot, workflow=stored.load(Snapshot).workflow if stored is not None else None)

    async def save(self, caller: Caller, response_id: str, snapshot: Snapshot) -> None:
        """Store the snapshot of a response, unless it is empty."""
        await write_batch(self._store, caller, [saving(response_id, snapshot)])

    async def forget(self, caller: Caller, response_id: str) -> Snapshot:
        """Delete the snapshot of a response and return it."""
        await self.tokens.delete(caller, response_id)  # A stopped turn leaves the token of its service's work.
        stored = await read_value(self._store, caller, Key(TURN, response_id))
        if stored is None:
            return Snapshot()
        snapshot = stored.load(Snapshot)
        await self._store.delete(caller, [Key(TURN, response_id)])
        await self._delete_parts(caller, response_id, snapshot)
        return snapshot

    async def erase_head(self, lease: Lease) -> None:
        """Delete the record of a conversation with its lease, so that the next turn starts it anew."""
        try:
            await self._store.delete(lease.caller, [Key(CONVERSATION, lease.conversation_id)], expect=lease.etag)
        finally:
            self._known.pop(lease.place, None)
            self._pending.pop(lease.place, None)
            if self._held.get(lease.place) is lease:
                del self._held[lease.place]
            lease.enter("released")

    async def drop_checkpoint(self, caller: Caller, response_id: str, snapshot: Snapshot) -> None:
        """Delete the checkpoint of a response. Its requests are kept for its deletion, but cannot be answered."""
        rest = replace(snapshot, workflow=None, open={})
        if rest:
            await write_value(self._store, caller, Key(TURN, response_id), rest.dump())
        else:
            await self._store.delete(caller, [Key(TURN, response_id)])
        await self._delete_parts(caller, response_id, snapshot)

    async def _delete_parts(self, caller: Caller, response_id: str, snapshot: Snapshot) -> None:
        # A failed turn refers to the checkpoint of the response that it continued, which owns it.
        if snapshot.workflow is not None and snapshot.workflow.checkpoint.response_id == response_id:
            await self.checkpoints.delete(caller, snapshot.workflow.checkpoint)
