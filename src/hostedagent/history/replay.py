"""`replay`: the response store's transcript is the conversation, and every turn sends it whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostedagent.history.policy import Feed
from hostedagent.policy import CallerPolicy
from hostedagent.request.messages import to_messages
from hostedagent.request.turn import TurnRequest
from hostedagent.types import Outcome

if TYPE_CHECKING:
    from agent_framework import SupportsAgentRun
    from azure.ai.agentserver.responses import ResponseContext


class ReplayHistory:
    """The default policy. The store drops what failed turns left, so nothing needs to be saved here."""

    keeps_history = True

    def __init__(self, caller: CallerPolicy) -> None:
        self._trusts_roles = caller.allow_instructions

    async def before(self, request: TurnRequest, context: ResponseContext, agent: SupportsAgentRun) -> Feed:
        """Read the history once and join the input to it."""
        continues = request.previous_response_id is not None or request.conversation_id is not None
        history = request.history
        if history is None:
            history = await context.get_history() if continues else ()
        new = await context.get_input_items() if request.has_references() else request.input
        return Feed(to_messages(history, new, trusts_roles=self._trusts_roles))

    async def after(self, request: TurnRequest, feed: Feed, outcome: Outcome) -> None:
        """The response store has it all."""
