"""`replay`: the response store's transcript is the conversation, and every turn reads it whole.

An agent of Agent Framework finds what earlier turns left in its session's history, and its run receives only what is
new. An agent without a session receives the whole transcript as the messages of its run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from agent_framework import InMemoryHistoryProvider, Message

from hostedagent.agents.run import default_option
from hostedagent.agents.session_use import history_providers, history_source, needs_session, reads_session
from hostedagent.conversation.continuation import Continuation, first_new_item
from hostedagent.conversation.history.base import Feed, ReadHistory
from hostedagent.conversation.history.session import answered, kept_state, open_session, unasked_questions
from hostedagent.errors import ConfigurationError
from hostedagent.off_loop import off_loop
from hostedagent.options import CallerPolicy
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.transcript.messages import split_messages, to_messages
from hostedagent.protocol.types import Json
from hostedagent.protocol.values import rows_of

if TYPE_CHECKING:
    from agent_framework import AgentSession, SupportsAgentRun

_MESSAGES = "messages"
"""Where the in-memory history provider keeps its messages, in its part of a session's state."""


class ReplayHistory:
    """The default policy. The session keeps what is no transcript: open approvals, the state of context providers."""

    keeps_history = True

    def __init__(self, caller: CallerPolicy) -> None:
        self._trusts_roles = caller.trusts_roles

    def check(self, agent: object) -> None:
        """Refuse an agent that loads a history of its own from elsewhere: every turn would come twice."""
        providers = history_providers(agent)
        own = [row for row in providers if not isinstance(row, InMemoryHistoryProvider)]
        if own:
            raise ConfigurationError(
                f"The host replays the conversation, and the agent's {type(own[0]).__name__} would load it too. "
                "Choose HostOptions(history='session'), or remove the provider."
            )
        if len(providers) > 1:
            names = ", ".join(repr(row.source_id) for row in providers)
            raise ConfigurationError(
                f"The agent has {len(providers)} history providers that load messages ({names}), so every message "
                "would come twice. Keep one, or set load_messages=False on the others."
            )
        if default_option(agent, "conversation_id") is not None:
            raise ConfigurationError(
                "The agent's default_options set conversation_id, so all callers would share one conversation. "
                "Remove it: the host keeps conversations apart."
            )

    async def before(
        self, request: TurnRequest, continuation: Continuation, history: ReadHistory, agent: SupportsAgentRun
    ) -> Feed:
        """Read the history once, and give it to the session or to the run."""
        items = request.history if request.history is not None else await history()
        much = len(items) + len(request.input)
        needed = continuation.snapshot.session is not None or needs_session(agent)
        session = open_session(request, continuation, agent) if needed else None
        given: dict[str, Any] = {
            "trusts_roles": self._trusts_roles,
            "answered": answered(continuation, agent),
            "resumes": request.options.tools.names if continuation.snapshot.session is not None else None,
            "made": continuation.made,
            "instructions": request.options.instructions,
            "reader": request.reader,
        }
        if session is None or not reads_session(agent):
            return Feed(await off_loop(much, to_messages, items, request.input, **given), session)
        given["first_new"] = first_new_item(request)
        transcript = await off_loop(much, split_messages, items, request.input, **given)
        if unasked := unasked_questions(continuation):
            transcript.history.append(Message("assistant", unasked))
        if getattr(agent, "require_per_service_call_history_persistence", False):
            _show_calls(transcript.history)
        await _load(session, agent, transcript.history)
        return Feed(transcript.input, session, history_source=history_source(agent), agent=agent)

    def after(self, feed: Feed) -> Mapping[str, Json] | None:
        """The session without the transcript, when there is anything else in it."""
        if feed.session is not None and feed.history_source is not None:
            _state(feed.session, feed.history_source).pop(_MESSAGES, None)
        return kept_state(feed.session, keeps_service_id=False)


def _show_calls(history: Sequence[Message]) -> None:
    """Show open questions as the calls that they are about.

    An agent that saves its history after each call of the model has the calls there: the questions are made of them
    later, and answered from the session.
    """
    for message in history:
        if any(content.type == "function_approval_request" for content in message.contents):
            message.contents = [
                content.function_call
                if content.type == "function_approval_request"
                and content.function_call
                and not content.function_call.hosted
                else content
                for content in message.contents
            ]


async def _load(session: AgentSession, agent: SupportsAgentRun, history: Sequence[Message]) -> None:
    """Put the history into the session, as the run before would have left it there."""
    source = history_source(agent)
    _state(session, source)[_MESSAGES] = list(history)
    if not history:
        return
    for provider in rows_of(getattr(agent, "context_providers", None)):
        # What compacts a stored history after each run has not seen this one.
        if getattr(provider, "after_strategy", None) is not None and provider.history_source_id == source:
            state = session.state.setdefault(provider.source_id, {})
            await provider.after_run(agent=agent, session=session, context=None, state=state)


def _state(session: AgentSession, source: str) -> dict[str, Any]:
    return cast("dict[str, Any]", session.state.setdefault(source, {}))
