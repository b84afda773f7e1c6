"""The approval requests of a turn: records new ones, and finds the calls of approved ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from agent_framework import Content
from msgspec import Struct, field
from msgspec.structs import asdict, replace

from hostedagent.protocol.content import Part
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import ApprovalRequest, SaveApproval
from hostedagent.protocol.wire import wire_json
from hostedagent.stores.approvals import Approval, Approvals

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate


class ApprovalTracker(Struct):
    """Tracks the open approval requests of one turn.

    Args:
        open: The approval requests whose calls have not run, by their ids on the wire; the turn changes them.
        answered: The requests that the turn answers, by Agent Framework's ids.
        asked: The ids on the wire of those that the turn has asked.
    """

    approvals: Approvals
    request: TurnRequest
    open: dict[str, ApprovalRequest]
    answered: Collection[str] = ()
    asked: list[str] = field(default_factory=list[str])

    async def ask(self, effect: SaveApproval) -> None:
        """Record an approval request before it is sent. A repeated request replaces the earlier one."""
        turn, item_id = self.request, effect.item_id
        asked_by, is_repeated = self._first_asked_by(effect.request.request_id)
        asked = replace(effect.request, asked_by=asked_by)
        approval = Approval(
            **asdict(asked),
            item_id=item_id,
            response_id=turn.response_id,
            conversation_id=turn.conversation_id,
            expires_at=self.approvals.expires_at(),
        )
        await self.approvals.record(turn.caller, approval, is_repeated=is_repeated)
        self.asked.append(item_id)
        self.open[item_id] = asked

    def _first_asked_by(self, request_id: str) -> tuple[str, bool]:
        """The response that asked first, and whether it did: a deferred request is recorded when it is asked.

        A request that the turn has answered counts as new if it is repeated.
        """
        response_id, is_repeated = self.request.response_id, False
        for item_id, earlier in list(self.open.items()):
            if earlier.request_id == request_id:
                del self.open[item_id]
                if request_id not in self.answered:
                    response_id = earlier.asked_by
                    is_repeated = bool(earlier.asked_by) and item_id != request_id  # Version 0.1 kept no mark.
        return response_id, is_repeated

    def defer(self, questions: Sequence[Content]) -> frozenset[str]:
        """Keep the requests that are left for later turns, so that their calls are shown once they have run.

        Returns:
            The ids of their calls, which this turn must not show.
        """
        known = {question.request_id for question in self.open.values()}
        hidden: set[str] = set()
        for content in questions:
            call, request_id = content.function_call, content.id
            if call is None or request_id is None:
                continue
            hidden |= {ident for ident in (call.id, call.call_id) if ident}
            if request_id not in known:
                self.open[request_id] = ApprovalRequest(
                    request_id,
                    call.call_id,
                    call.name or "",
                    wire_json(call.parse_arguments() or {}),
                    bool(call.hosted),
                    asked_by=self.request.response_id,
                )
        return frozenset(hidden)

    def settled_calls(self, update: AgentResponseUpdate) -> Iterator[Part]:
        """The approved calls whose results arrive in this turn; until now the caller has seen only the requests."""
        results = {content.call_id: content for content in update.contents if content.type == "function_result"}
        for item_id, question in list(self.open.items()):
            if (result := results.get(question.call_id)) is None:
                continue
            del self.open[item_id]
            call = Content.from_function_call(
                question.call_id or "",
                question.name,
                arguments=question.arguments,
                id=result.id,
                merge_mode="replace",
                additional_properties={"hostedagent": {"approval_request_id": item_id}},
            )
            yield Part(call, update.author_name or update.agent_id, replaces=True)
