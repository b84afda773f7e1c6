"""Approvals: what a caller was asked, recorded before the question left, and answered at most once.

The question is found by the id on the wire. What is used up is Agent Framework's own request id, because a question
can be asked again under a new wire id: whichever is answered first counts. Arguments always come from the record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from hostedagent.errors import Conflict, InvalidRequest, NotFound
from hostedagent.identity import Scope
from hostedagent.stores.base import ABSENT, DEFAULT_TTL, StateConflict, StateStore

ASKED: Final = "approval"
ANSWERED: Final = "approval-answer"


@dataclass(frozen=True, slots=True)
class Approval:
    """A question as it was asked.

    Args:
        item_id: The `mcp_approval_request` on the wire.
        request_id: The id that Agent Framework waits for.
        call_id: The call that is to be approved.
        name: The tool.
        arguments: Its arguments, as JSON.
        hosted: Whether the model's provider runs the tool.
        response_id: The response that asked.
        conversation_id: The conversation it belongs to.
        expires_at: Seconds since the epoch.
        server: Which of the provider's servers runs it.
    """

    item_id: str
    request_id: str
    call_id: str | None
    name: str
    arguments: str
    hosted: bool
    response_id: str
    conversation_id: str | None
    expires_at: float
    server: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A caller's answer to a question.

    Args:
        approval: The question.
        approved: Whether the call may run.
        reason: The caller's reason.
        param: The field of the request that holds the answer, for error messages.
        standing_rule: What the answer also allows from now on, `"tool"` or `"tool_with_arguments"`.
    """

    approval: Approval
    approved: bool
    reason: str | None
    param: str
    standing_rule: str | None = None


class Approvals:
    """A typed view of the state store."""

    def __init__(self, state: StateStore, *, ttl: float = DEFAULT_TTL, clock: Callable[[], float] = time.time) -> None:
        self._state = state
        self._ttl = ttl
        self._clock = clock

    def expires_at(self) -> float:
        """When a question asked now expires."""
        return self._clock() + self._ttl

    async def record(self, scope: Scope, approval: Approval) -> None:
        """Record a question; must be done before the question leaves."""
        await self._state.put(scope, ASKED, approval.item_id, asdict(approval))

    async def find(self, scope: Scope, item_id: str, belongs: Callable[[Approval], bool], *, param: str) -> Approval:
        """The question that an answer names.

        Args:
            scope: Whose questions.
            item_id: The id on the wire.
            belongs: Whether a question is one of the conversation that is being continued.
            param: The field that holds the id, for error messages.

        Raises:
            NotFound: There is none, it is somebody else's, or it belongs to another chain or conversation.
            InvalidRequest: It has expired.
        """
        stored = await self._state.get(scope, ASKED, item_id)
        approval = _load(stored.value) if stored is not None else None
        if approval is None or not belongs(approval):
            raise NotFound(f"{param} {item_id!r} is no open approval request of this conversation.", param=param)
        if approval.expires_at <= self._clock():
            raise InvalidRequest(f"{param} {item_id!r} has expired; ask the agent again.", param=param)
        return approval

    async def is_open(self, scope: Scope, item_id: str) -> bool:
        """Whether a question can still be answered."""
        stored = await self._state.get(scope, ASKED, item_id)
        if stored is None:
            return False
        approval = _load(stored.value)
        answered = await self._state.get(scope, ANSWERED, approval.request_id)
        return answered is None and approval.expires_at > self._clock()

    async def consume(self, scope: Scope, answers: Sequence[Answer]) -> None:
        """Use the answers up, all or none.

        Raises:
            Conflict: One was used before.
        """
        done: list[Answer] = []
        for answer in answers:
            value = {"approved": answer.approved, "reason": answer.reason}
            try:
                await self._state.put(scope, ANSWERED, answer.approval.request_id, value, expect=ABSENT)
            except StateConflict:
                await self.restore(scope, done)
                raise Conflict(
                    f"{answer.param}: the approval request {answer.approval.item_id!r} was answered before.",
                    param=answer.param,
                ) from None
            done.append(answer)

    async def restore(self, scope: Scope, answers: Sequence[Answer]) -> None:
        """Undo `consume`, for a turn that never began to run."""
        for answer in answers:
            await self._state.delete(scope, ANSWERED, answer.approval.request_id)

    async def forget(self, scope: Scope, item_ids: Sequence[str]) -> None:
        """Delete questions; what was answered stays used."""
        for item_id in item_ids:
            await self._state.delete(scope, ASKED, item_id)


def _load(value: Mapping[str, object]) -> Approval:
    return Approval(**value)  # pyright: ignore[reportArgumentType]
