"""`service`: the model's service keeps the conversation; only new messages are sent, with the service's private id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hostedagent.agents.background import BackgroundRun, works_in_background
from hostedagent.agents.deduplication import Told
from hostedagent.agents.model_calls import ModelCalls
from hostedagent.agents.run import start_run
from hostedagent.agents.session_use import history_providers
from hostedagent.conversation.continuation import Continuation
from hostedagent.conversation.history.base import Feed, ReadHistory
from hostedagent.conversation.history.session import kept_session, new_only, stores_by_default
from hostedagent.errors import ConfigurationError
from hostedagent.options import CallerPolicy
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.transcript.messages import to_messages
from hostedagent.protocol.types import Json
from hostedagent.stores.tokens import ContinuationTokens, Token

if TYPE_CHECKING:
    from agent_framework import SupportsAgentRun


class ServiceHistory:
    """The session carries `service_session_id`, which no caller ever sees."""

    keeps_history = False

    def __init__(self, caller: CallerPolicy, tokens: ContinuationTokens) -> None:
        self._trusts_roles = caller.trusts_roles
        self._tokens = tokens

    def check(self, agent: object) -> None:
        """Refuse an agent that loads its own history, and one whose service keeps no conversation."""
        if providers := history_providers(agent):
            raise ConfigurationError(
                f"history='service' and the agent's {type(providers[0]).__name__} would both keep the conversation. "
                "Choose history='session', or 'replay' for an InMemoryHistoryProvider, or remove the provider."
            )
        if getattr(agent, "client", None) is not None and not stores_by_default(agent):
            raise ConfigurationError(
                "history='service' needs a chat client whose service keeps conversations; this one's does not. "
                "Choose history='replay'."
            )

    async def before(
        self, request: TurnRequest, continuation: Continuation, history: ReadHistory, agent: SupportsAgentRun
    ) -> Feed:
        """Send the new messages, with the session."""
        feed = await new_only(request, continuation, agent, trusts_roles=self._trusts_roles)
        if works_in_background(agent):
            feed.run = self._run(request, continuation, agent, feed)
        return feed

    def _run(
        self, request: TurnRequest, continuation: Continuation, agent: SupportsAgentRun, feed: Feed
    ) -> BackgroundRun:
        place, made = continuation.place, continuation.made
        is_answered = place is not None and place.is_answered(made)
        if place is not None and is_answered:
            feed.messages = to_messages((), (), trusts_roles=False, is_whole=False, made=place.results(made))
            if feed.session is not None:
                feed.session.service_session_id = place.service_id

        calls = ModelCalls()

        def attempt(token: Token | None) -> Any:
            return start_run(
                agent,
                feed.messages,
                request,
                session=feed.session,
                keeps_history=False,
                calls=calls,
                continuation_token=token,
            )

        return BackgroundRun(
            attempt,
            self._tokens if request.store else None,
            request.caller,
            request.response_id,
            session=feed.session,
            token=place.token if place is not None and not is_answered else None,
            told=Told(continuation.told),
            calls=calls,
        )

    def after(self, feed: Feed) -> Mapping[str, Json] | None:
        """The session, with the service's id."""
        return kept_session(feed)
