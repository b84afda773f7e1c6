"""Approval requests: recorded before they are sent, and answered at most once.

A request is found by its id on the wire. Whether it was answered is kept in a mark under Agent Framework's own request
id and the response that asked first, because a request can be sent again with a new wire id: the first answer counts.
The mark is created with the request and renewed when it is sent again. A request whose mark was lost, by expiry or
eviction, cannot be answered, so that a call never runs twice. Arguments always come from the record.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from hostedagent.errors import Conflict, InvalidRequest, NotFound
from hostedagent.identity import Caller
from hostedagent.protocol.types import ApprovalRequest
from hostedagent.stores.base import ABSENT, DEFAULT_TTL, Key, Store, StoreConflict, Value, Write
from hostedagent.stores.values import Versioned, dump_value, read_value, read_values, write_value

ASKED: Final = "approval"
ANSWERED: Final = "approval-answer"

_OPEN: Final = {"approved": None, "reason": None}


class Approval(ApprovalRequest, frozen=True, kw_only=True):
    """A recorded approval request.

    Args:
        item_id: The `mcp_approval_request` on the wire.
        response_id: The response that asked.
        expires_at: Seconds since the epoch.
        is_marked: Whether it was recorded with its mark; version 0.1 created the mark with the answer.
    """

    asked_by: str = field(default="", name="asked_by")
    item_id: str
    response_id: str
    conversation_id: str | None
    expires_at: float
    is_marked: bool = False

    @property
    def answer_key(self) -> str:
        """The key of its mark: the same for a repeated request, another one for a different request with its id."""
        return f"{self.asked_by}.{self.request_id}" if self.asked_by else self.request_id  # As in 0.1.


class ApprovalDecision(Struct, frozen=True):
    """A caller's answer to an approval request.

    Args:
        param: The path of the answer in the request body, for error messages.
        standing_rule: The scope of a standing approval, `"tool"` or `"tool_with_arguments"`.
    """

    approval: Approval
    approved: bool
    reason: str | None
    param: str
    standing_rule: str | None = None


class AnswerAttempt(Struct, frozen=True):
    """A try to begin the turn that answers requests.

    Args:
        token: Distinguishes the tries of one turn.
        response_id: The response of the turn, if it has been named; otherwise the answer is never taken from it.
        process: The process that begins it.
        begun_at: When it did, in seconds since the epoch.
    """

    token: str = ""
    response_id: str = ""
    process: str = ""
    begun_at: float = 0.0


UNNAMED: Final = AnswerAttempt()


class Approvals:
    """The approval requests of all turns, and whether they were answered."""

    def __init__(self, store: Store, *, ttl: float = DEFAULT_TTL, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._ttl = ttl
        self._clock = clock

    def expires_at(self) -> float:
        """When a request recorded now expires."""
        return self._clock() + self._ttl

    async def record(self, caller: Caller, approval: Approval, *, is_repeated: bool = False) -> None:
        """Record a request before it is sent.

        Args:
            is_repeated: Whether it was recorded before under another id, with its mark. If that is lost, whether the
                request was answered is unknown, so it cannot be.
        """
        mark_key = _mark(approval)
        question = Write(Key(ASKED, approval.item_id), dump_value(ASKED, replace(approval, is_marked=True)))
        first = [] if is_repeated else [Write(mark_key, dump_value(ANSWERED, _OPEN), ABSENT)]
        while True:
            if is_repeated and (mark := await read_value(self._store, caller, mark_key)) is not None:
                first = [Write(mark_key, dump_value(ANSWERED, mark.value), mark.etag)]
            try:
                # The mark first: without transactions, no request may exist without it.
                await self._store.write(caller, [*first, question])
            except StoreConflict:  # Asked before: the mark is kept and renewed.
                is_repeated = True
            else:
                return

    async def find(self, caller: Caller, item_id: str, belongs: Callable[[Approval], bool], *, param: str) -> Approval:
        """The request that an answer refers to.

        Args:
            belongs: Whether a request belongs to the conversation that is being continued.
            param: The path of the id in the request body, for error messages.

        Raises:
            NotFound: There is none, or it belongs to another user, chain or conversation.
            InvalidRequest: It has expired.
        """
        approval, mark = await self._read(caller, item_id)
        if approval is None or not belongs(approval) or (mark is None and approval.is_marked):
            raise NotFound(f"{param} {item_id!r} is not an open approval request of this conversation.", param=param)
        if approval.expires_at <= self._clock():
            raise InvalidRequest(f"{param} {item_id!r} has expired; ask the agent again.", param=param)
        return approval

    async def is_open(self, caller: Caller, item_id: str) -> bool:
        """Whether a request can still be answered."""
        approval, mark = await self._read(caller, item_id)
        return approval is not None and _is_open(approval, mark) and approval.expires_at > self._clock()

    async def consume(
        self,
        caller: Caller,
        answers: Sequence[ApprovalDecision],
        by: AnswerAttempt = UNNAMED,
        has_left: Callable[[AnswerAttempt], Awaitable[bool]] | None = None,
    ) -> None:
        """Mark the requests as answered, all or none; raises `Conflict` when one was answered before.

        Args:
            has_left: Whether the turn that answered a request has not begun and cannot begin any more, or is the
                same one: the answer to its first call may have been lost. It raises `Busy` if that is not decided.
        """
        done: list[ApprovalDecision] = []
        marks = await read_values(self._store, caller, [_mark(answer.approval) for answer in answers])
        for answer, mark in zip(answers, marks, strict=True):
            try:
                await self._answer(caller, answer, mark, by, has_left)
            except Conflict:
                await self.restore(caller, done, by.token)
                raise
            done.append(answer)

    async def _answer(
        self,
        caller: Caller,
        answer: ApprovalDecision,
        mark: Versioned | None,
        by: AnswerAttempt,
        has_left: Callable[[AnswerAttempt], Awaitable[bool]] | None,
    ) -> None:
        """Mark one request as answered; raises `Conflict` when it was answered before."""
        key, value = _mark(answer.approval), {"approved": answer.approved, "reason": answer.reason, **_stored(by)}
        while True:
            if not _is_open(answer.approval, mark):
                before = _attempt(mark)
                if has_left is None or not before.response_id or not await has_left(before):
                    says = f"{answer.param}: the approval request {answer.approval.item_id!r} was answered before."
                    raise Conflict(says, param=answer.param)
            try:
                await write_value(self._store, caller, key, value, expect=mark.etag if mark is not None else ABSENT)
            except StoreConflict:  # Another try has just answered it, or given it back.
                mark = await read_value(self._store, caller, key)
            else:
                return

    async def restore(self, caller: Caller, answers: Sequence[ApprovalDecision], token: str = "") -> None:
        """Undo a `consume` that may have happened, unless another try has answered since.

        Args:
            token: The try that answered, for a turn that never ran.
        """
        keys = [_mark(answer.approval) for answer in answers]
        for key, mark in zip(keys, await read_values(self._store, caller, keys) if keys else (), strict=True):
            if mark is not None and _attempt(mark).token == token:
                with suppress(StoreConflict):  # Another turn has answered meanwhile.
                    await write_value(self._store, caller, key, _OPEN, expect=mark.etag)

    async def forget(self, caller: Caller, item_ids: Sequence[str]) -> None:
        """Erase requests. Their marks are kept: an answered request stays answered under every other id."""
        if item_ids:
            await self._store.delete(caller, [Key(ASKED, item_id) for item_id in item_ids])

    async def _read(self, caller: Caller, item_id: str) -> tuple[Approval | None, Versioned | None]:
        stored = await read_value(self._store, caller, Key(ASKED, item_id))
        if stored is None:
            return None, None
        approval = stored.load(Approval)
        return approval, await read_value(self._store, caller, _mark(approval))


def _mark(approval: Approval) -> Key:
    return Key(ANSWERED, approval.answer_key)


def _stored(by: AnswerAttempt) -> Value:
    return {"by": by.token, "response_id": by.response_id, "process": by.process, "begun_at": by.begun_at}


def _attempt(mark: Versioned | None) -> AnswerAttempt:
    value: Value = mark.value if mark is not None else {}
    names = (value.get("by") or "", value.get("response_id") or "", value.get("process") or "")
    return AnswerAttempt(*names, value.get("begun_at") or 0.0)


def _is_open(approval: Approval, mark: Versioned | None) -> bool:
    return not approval.is_marked if mark is None else mark.value["approved"] is None
