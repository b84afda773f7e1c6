"""Opens the continuation of a turn before the first byte: the snapshot, the lease of the conversation, the approvals.

A request can thus be refused with a real status before a model is called: for a busy conversation, or an approval that
is unknown, expired or already answered. Acquired resources are released if the turn is never started.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from hostedagent.agents.workflow_start import read_start
from hostedagent.conversation.compaction import open_input
from hostedagent.conversation.references import NAMING, resolve_references
from hostedagent.conversation.transcript import history_ids, inherit, orphans, stored_by
from hostedagent.conversation.workflow_responses import check_transcript, read_responses
from hostedagent.errors import Busy, InvalidRequest
from hostedagent.identity import Caller
from hostedagent.protocol.content import BY_ITEM
from hostedagent.protocol.content.compaction import ITEM as SEALED
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.statuses import COUNTED, RUNNING
from hostedagent.protocol.types import Item, Json, answered_calls
from hostedagent.stores.approvals import AnswerAttempt, Approval, ApprovalDecision, Approvals
from hostedagent.stores.base import ResponseRepository, StoreUnavailable
from hostedagent.stores.checkpoints import WorkflowState
from hostedagent.stores.heads import Head
from hostedagent.stores.idempotency import ACCEPTING_SECONDS
from hostedagent.stores.journals import Journal
from hostedagent.stores.leases import Lease
from hostedagent.stores.sessions import Sessions, Snapshot
from hostedagent.stores.tokens import Place


class Continuation(Struct):
    """The state that one turn continues.

    Args:
        snapshot: The snapshot of the previous response; empty for a first turn.
        excluded: Items that must not be in this turn's prompt.
        history_ids: The items before the turn, without the excluded ones.
        input: The input items, with references replaced by the stored items.
        responses: The answers to a workflow's requests, by request id.
        has_begun: Whether the turn has started and releases the lease itself.
        is_over: Whether it was released, because the turn was never started.
        made: The items of the turn from an earlier process, up to the point where it is resumed.
        place: The progress of the turn in the background work of its model's service.
        told: The finished items of that work that an earlier process sent.
        is_lost: Whether another turn has had the conversation since.
        attempt: The token of the try that marked the answered approvals.
    """

    snapshot: Snapshot = field(default_factory=Snapshot)
    excluded: frozenset[str] = frozenset()
    lease: Lease | None = None
    answers: tuple[ApprovalDecision, ...] = ()
    responses: dict[str, Any] = field(default_factory=dict[str, Any])
    response_id: str | None = None
    has_begun: bool = False
    is_over: bool = False
    made: tuple[Item, ...] = ()
    checkpoint: WorkflowState | None = None
    place: Place | None = None
    told: tuple[Item, ...] = ()
    is_lost: bool = False
    history_ids: tuple[str, ...] = ()
    input: tuple[Item, ...] = ()
    attempt: str = ""

    def exclude(self, ids: Sequence[str]) -> None:
        """Exclude further items from the prompt."""
        self.excluded |= set(ids)
        self.history_ids = tuple(item_id for item_id in self.history_ids if item_id not in self.excluded)


class KnownResponses(ResponseRepository, Protocol):
    """Responses with their statuses."""

    async def status(self, caller: Caller, response_id: str) -> str | None:
        """The status of a response, in whichever process it runs; `None` if there is no such response."""
        ...

    async def was_created(self, caller: Caller, response_id: str) -> bool | None:
        """Whether a response was created, even if it was deleted since; `None` if it may still be created."""
        ...

    async def forbid(self, caller: Caller, response_id: str) -> bool:
        """Make sure that a response of an ended request is not created; `False` if it exists."""
        ...


class Continuations(Struct, frozen=True):
    """Opens and releases continuations."""

    sessions: Sessions
    approvals: Approvals
    store: KnownResponses
    start: Any = None
    """The type that the host's workflow starts with, where that is known before a turn."""

    async def open(self, request: TurnRequest) -> Continuation:
        """Open the continuation of a turn and acquire its resources.

        Raises:
            Busy: The conversation has a running turn, or the previous response has not ended.
            Conflict: An approval was already answered.
            NotFound: The previous response or an approval is unknown, or belongs to another conversation.
            InvalidRequest: An approval has expired or is answered twice, or a workflow expects something else.
        """
        kinds = _kinds(request)
        if kinds & NAMING:  # First, because the input may refer to the request that it answers.
            request = await resolve_references(request, self.store)
            kinds = _kinds(request)
        if SEALED in kinds:
            await open_input(request, self.sessions.seals)
        continuation = await self._resume(request)
        continuation.input = request.input
        try:
            await self._take_answers(continuation, request, kinds)
        except BaseException:
            if continuation.lease is not None:
                await self.sessions.release(continuation.lease)
            raise
        return continuation

    async def _take_answers(self, continuation: Continuation, request: TurnRequest, kinds: frozenset[Json]) -> None:
        """Check the answers in the input, and mark their requests as answered. Messages alone contain no answers."""
        caller, keeps_transcript = request.caller, _keeps_transcript(request)
        if not keeps_transcript:
            continuation.history_ids = await history_ids(self.store, caller, request, continuation.excluded)
        if "mcp_approval_response" in kinds:
            continuation.answers = await self._answers(request, continuation.snapshot)
            if continuation.answers and keeps_transcript:
                continuation.snapshot = await self._asking(continuation.answers, caller)
        if (workflow := continuation.snapshot.workflow) is not None:
            first = first_new_item(request)
            continuation.responses = read_responses(request, workflow, continuation.answers, first=first)
        elif keeps_transcript and "function_call" in kinds:
            check_transcript(request, first=first_new_item(request))
        if self.start is not None and not continuation.responses and not continuation.answers:
            read_start(self.start, request.input, first_new_item(request))
        if continuation.answers:
            await self._consume(continuation, request)

    async def _consume(self, continuation: Continuation, request: TurnRequest) -> None:
        """Mark approvals as answered. If that fails, they are open again."""
        caller, answers = request.caller, continuation.answers
        named = request.response_id if request.store else ""  # Nothing tells whether another one has run.
        settings = self.sessions.settings
        token = continuation.attempt = secrets.token_hex(8)
        by = AnswerAttempt(token, named, await settings.liveness.name(), settings.clock())

        async def has_left(before: AnswerAttempt) -> bool:
            if before.response_id == request.response_id:
                return True
            if (was_created := await self.store.was_created(caller, before.response_id)) is not None:
                return not was_created
            if not await settings.has_ended(before.process, since=before.begun_at):
                raise Busy(
                    "Another request that answers the same approval is being accepted. Send it again in a moment."
                )
            return await self.store.forbid(caller, before.response_id)

        try:
            await self.approvals.consume(caller, answers, by, has_left)
        except StoreUnavailable:
            restore = partial(self.approvals.restore, caller, answers, token)
            try:
                await restore()  # Before the caller learns of it and asks again.
            except StoreUnavailable:
                self.sessions.retries.start(restore, seconds=ACCEPTING_SECONDS)
            raise

    async def reopen(
        self, request: TurnRequest, journal: Journal | None, *, made: tuple[Item, ...] = ()
    ) -> Continuation:
        """Reopen the continuation of a turn that an earlier process started.

        Args:
            journal: What that process recorded; its approvals are already marked as answered.
        """
        caller, answers = request.caller, journal.answers if journal is not None else ()
        await open_input(request, self.sessions.seals)
        continuation = Continuation(made=made, answers=answers, attempt=journal.attempt if journal is not None else "")
        if request.previous_response_id is not None:
            continuation.snapshot = await self._left_by(caller, request.previous_response_id)
            continuation.excluded = frozenset(continuation.snapshot.excluded)
        elif request.conversation_id is not None:
            conversation = request.conversation_id
            held = None
            if journal is not None and journal.lease is not None:
                held = await self.sessions.take_over(caller, conversation, journal.lease, journal.version)
            continuation.lease = held
            head = held.head if held is not None else await self.sessions.head(caller, conversation)
            seen = await self._see(caller, head)
            left = await orphans(self.store, caller, conversation, head.response_id)
            continuation.snapshot, continuation.excluded = seen.snapshot, seen.excluded | set(left)
            continuation.is_lost = held is None and head.response_id != request.response_id
        elif answers:
            continuation.snapshot = await self._asking(answers, caller)
        first = first_new_item(request)
        continuation.responses = read_responses(request, continuation.snapshot.workflow, answers, first=first)
        continuation.history_ids = await history_ids(self.store, caller, request, continuation.excluded)
        return _without_settled(continuation)

    async def abandon(self, continuation: Continuation, caller: Caller) -> None:
        """Release the resources of a turn that was never started."""
        if continuation.has_begun or continuation.is_over:
            return
        continuation.is_over = True
        restore = partial(self.approvals.restore, caller, continuation.answers, continuation.attempt)
        try:
            await restore()
        except StoreUnavailable:
            self.sessions.retries.start(restore, seconds=ACCEPTING_SECONDS)
            raise
        finally:
            if continuation.lease is not None:
                await self.sessions.release(continuation.lease)

    async def _resume(self, request: TurnRequest) -> Continuation:
        caller = request.caller
        if request.previous_response_id is not None:
            snapshot = await self._left_by(caller, request.previous_response_id)
            return Continuation(snapshot, frozenset(snapshot.excluded))
        if request.conversation_id is None:
            return Continuation()
        if not request.store:
            return await self._see(caller, await self.sessions.head(caller, request.conversation_id))
        lease = await self.sessions.acquire(caller, request.conversation_id, request.response_id)
        try:
            await inherit(self.store, caller, lease)
            return replace(await self._see(caller, lease.head), lease=lease)
        except BaseException:
            await self.sessions.release(lease)
            raise

    async def _left_by(self, caller: Caller, response_id: str) -> Snapshot:
        """The snapshot of the response to continue."""
        status = await self.store.status(caller, response_id)
        if status in RUNNING:
            raise Busy(
                f"Response with id '{response_id}' has not ended. Try again when it has.", param="previous_response_id"
            )
        snapshot = await self.sessions.resume(caller, response_id)
        if status is None or status in COUNTED or (snapshot and not snapshot.is_early):
            return snapshot
        # Its process died before it could roll back: the turn before it is continued, without its items.
        previous = (await self.store.get(caller, response_id)).get("previous_response_id")
        own = await stored_by(self.store, caller, response_id, previous)
        before = await self._left_by(caller, previous) if previous else Snapshot()
        return replace(before, approvals=(), excluded=own)

    async def _see(self, caller: Caller, head: Head) -> Continuation:
        snapshot = Snapshot()
        if head.has_snapshot and head.response_id is not None:
            snapshot = await self.sessions.resume(caller, head.response_id)
        return Continuation(snapshot, frozenset(head.excluded))

    async def _answers(self, request: TurnRequest, snapshot: Snapshot) -> tuple[ApprovalDecision, ...]:
        answers: dict[str, ApprovalDecision] = {}
        caller, first = request.caller, first_new_item(request)
        for n, item in enumerate(request.input):
            if item.get("type") != "mcp_approval_response":
                continue
            param = f"input[{n}].approval_request_id"
            item_id: str = item["approval_request_id"]
            if n < first and not await self.approvals.is_open(caller, item_id):
                continue  # Part of the transcript: an earlier turn executed it.
            approval = await self.approvals.find(caller, item_id, partial(_belongs, request, snapshot), param=param)
            request_id = approval.request_id
            if request_id in answers:
                raise InvalidRequest(f"{param} {item_id!r} is answered twice.", param=param)
            answers[request_id] = ApprovalDecision(
                approval, item.get("approve") is True, item.get("reason"), param, item.get("always_approve")
            )
        return tuple(answers.values())

    async def _asking(self, answers: Sequence[ApprovalDecision], caller: Caller) -> Snapshot:
        """The snapshot of the turn that asked, for a caller that names neither a response nor a conversation."""
        snapshot = await self._left_by(caller, answers[-1].approval.response_id)
        for answer in answers:
            if answer.approval.item_id not in snapshot.open:
                raise InvalidRequest(
                    f"{answer.param}: {answer.approval.item_id!r} was not asked together with the last one that is "
                    "answered, or is no longer kept. Answer the questions of one turn at a time.",
                    param=answer.param,
                )
        return snapshot


def _kinds(request: TurnRequest) -> frozenset[Json]:
    """The types of the input items: they decide which steps an input needs."""
    return frozenset([item.get("type") for item in request.input])


def _without_settled(continuation: Continuation) -> Continuation:
    """Without the requests whose calls have run."""
    done = answered_calls(continuation.made)
    questions = continuation.snapshot.open
    still_open = {item_id: row for item_id, row in questions.items() if row.call_id not in done}
    continuation.snapshot = replace(continuation.snapshot, open=still_open)
    continuation.answers = tuple(row for row in continuation.answers if row.approval.call_id not in done)
    return continuation


def _keeps_transcript(request: TurnRequest) -> bool:
    """Whether the caller keeps the conversation itself and sends all of it."""
    return request.previous_response_id is None and request.conversation_id is None


def first_new_item(request: TurnRequest) -> int:
    """The index of the first new input item; items before it are the caller's copy of the history."""
    if not _keeps_transcript(request):
        return 0
    items = request.input
    return next((n for n in range(len(items), 0, -1) if _is_said(items[n - 1])), 0)


def _is_said(item: Item) -> bool:
    codec = BY_ITEM.get(str(item.get("type")))
    role = codec.item_types[str(item.get("type"))] if codec is not None else None
    return role == "assistant" or (role == "own" and item.get("role") == "assistant")


def _belongs(request: TurnRequest, snapshot: Snapshot, approval: Approval) -> bool:
    """Whether an approval request belongs to the conversation that the request continues."""
    if not _keeps_transcript(request):
        return approval.item_id in snapshot.open
    # A client that keeps the transcript sends the request back with the answer.
    sent = (item for item in request.input if item.get("type") == "mcp_approval_request")
    return any(item.get("id") == approval.item_id for item in sent)
