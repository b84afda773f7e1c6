"""The questions of a turn: what it asks, and the calls that it shows once they were approved and run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from agent_framework import Content

from hostedagent.protocol.content import Part
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import SaveApproval
from hostedagent.stores.approvals import Approval, Approvals
from hostedagent.stores.sessions import Question

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate


class Asking:
    """Keeps the open questions of one turn.

    Args:
        approvals: Where questions are recorded.
        request: The turn.
        open_before: The questions that were open when the turn began.
    """

    def __init__(self, approvals: Approvals, request: TurnRequest, open_before: Mapping[str, Question]) -> None:
        self._approvals = approvals
        self._request = request
        self.open: dict[str, Question] = dict(open_before)
        self.asked: list[str] = []

    async def ask(self, effect: SaveApproval) -> None:
        """Record a question before it leaves. Asked again, it takes the place of what it repeats."""
        request = self._request
        approval = Approval(
            item_id=effect.item_id,
            request_id=effect.request_id,
            call_id=effect.call_id,
            name=effect.name,
            arguments=effect.arguments,
            hosted=effect.hosted,
            server=effect.server,
            response_id=request.response_id,
            conversation_id=request.conversation_id,
            expires_at=self._approvals.expires_at(),
        )
        await self._approvals.record(request.scope, approval)
        batch = request.response_id
        for item_id, earlier in list(self.open.items()):
            if earlier.request_id == effect.request_id:
                batch = self.open.pop(item_id).batch
        self.asked.append(effect.item_id)
        self.open[effect.item_id] = Question(
            effect.request_id, effect.call_id, effect.name, effect.arguments, effect.hosted, batch
        )

    def settled_calls(self, update: AgentResponseUpdate) -> Iterator[Part]:
        """The calls whose results come now that they were approved; until now the caller saw questions only."""
        results = {content.call_id: content for content in update.contents if content.type == "function_result"}
        for item_id, question in list(self.open.items()):
            if (result := results.get(question.call_id)) is None:
                continue
            del self.open[item_id]
            call = Content.from_function_call(
                question.call_id or "", question.name, arguments=question.arguments, id=result.id, merge_mode="replace"
            )
            yield Part(call, update.author_name or update.agent_id, replaces=True)
