"""`replay`: the response store's transcript is the conversation, and every turn sends it whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from hostedagent.agents.run import keeps_state
from hostedagent.conversation.continuation import Continuation
from hostedagent.conversation.history.base import Feed
from hostedagent.conversation.history.session import (
    HostKeepsHistory,
    answered,
    history_providers,
    kept_state,
    open_session,
)
from hostedagent.errors import ConfigurationError
from hostedagent.options import CallerPolicy
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.transcript.messages import to_messages
from hostedagent.protocol.types import Json

if TYPE_CHECKING:
    from agent_framework import SupportsAgentRun
    from azure.ai.agentserver.responses import ResponseContext


class ReplayHistory:
    """The default policy. The session keeps what is no transcript: open approvals, the state of context providers."""

    keeps_history = True

    def __init__(self, caller: CallerPolicy) -> None:
        self._trusts_roles = caller.allow_instructions

    def check(self, agent: object) -> None:
        """Refuse an agent that loads a history of its own: every turn would come twice."""
        providers = [row for row in history_providers(agent) if not isinstance(row, HostKeepsHistory)]
        if providers:
            raise ConfigurationError(
                f"The host replays the conversation, and the agent's {type(providers[0]).__name__} would load it too. "
                "Choose HostOptions(history='session'), or take the provider away."
            )

    async def before(
        self, request: TurnRequest, continuation: Continuation, context: ResponseContext, agent: SupportsAgentRun
    ) -> Feed:
        """Read the history once and join the input to it."""
        continues = request.previous_response_id is not None or request.conversation_id is not None
        history = request.history
        if history is None:
            history = await context.get_history() if continues else ()
        new = await context.get_input_items() if request.has_references() else request.input
        messages = to_messages(
            history,
            new,
            trusts_roles=self._trusts_roles,
            answered=answered(continuation),
            resumes=request.options.tools.names if continuation.snapshot.session is not None else None,
            made=continuation.made,
        )
        needed = continuation.snapshot.session is not None or keeps_state(agent)
        session = open_session(request, continuation, agent) if needed else None
        if session is not None and isinstance(providers := getattr(agent, "context_providers", None), list):
            cast("list[object]", providers).append(HostKeepsHistory())
        return Feed(messages, session)

    def after(self, feed: Feed) -> Mapping[str, Json] | None:
        """The session without the transcript, when there is anything else in it."""
        return kept_state(feed.session, keeps_service_id=False)
