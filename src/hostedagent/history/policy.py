"""The contract of a history policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hostedagent.request.turn import TurnRequest
from hostedagent.types import Outcome

if TYPE_CHECKING:
    from agent_framework import AgentSession, Message, SupportsAgentRun
    from azure.ai.agentserver.responses import ResponseContext


@dataclass(slots=True)
class Feed:
    """What a run is given: the messages, and the session if the agent is to have one."""

    messages: list[Message]
    session: AgentSession | None = None


class HistoryPolicy(Protocol):
    """Owns the conversation's state for a turn.

    Concurrency: one policy serves all turns; the two calls of one turn come in order, from one task.
    Exceptions: a `RequestError` refuses the turn with its message; anything else fails it.
    Cancellation: `after` is shielded by the turn.
    """

    keeps_history: bool
    """Whether the host keeps the conversation, so that the model's service should not."""

    async def before(self, request: TurnRequest, context: ResponseContext, agent: SupportsAgentRun) -> Feed:
        """Decide what the agent is fed; called once, before the run."""
        ...

    async def after(self, request: TurnRequest, feed: Feed, outcome: Outcome) -> None:
        """Save what must be saved; called once, before the terminal event leaves."""
        ...
