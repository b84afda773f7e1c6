"""`replay`: the response store's transcript is the conversation, and every turn reads it whole.

An agent of Agent Framework finds earlier turns in its session's history, and its run gets only the new messages. An
agent without a session gets the whole transcript as the messages of its run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from agent_framework import InMemoryHistoryProvider, Message

from hostedagent.agents.run import default_option
from hostedagent.agents.session_use import history_providers, history_source, needs_session, reads_session
from hostedagent.conversation.compaction import seal_messages
from hostedagent.conversation.continuation import Continuation, first_new_item
from hostedagent.conversation.history.base import Compaction, Feed, ReadHistory
from hostedagent.conversation.history.session import answered, open_session, unasked_questions
from hostedagent.errors import ConfigurationError
from hostedagent.observability.logging import log_failure
from hostedagent.off_loop import off_loop
from hostedagent.options import CallerPolicy
from hostedagent.protocol.content.compaction import ITEM
from hostedagent.protocol.content.own_calls import function_items
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.transcript.compaction import open_items
from hostedagent.protocol.transcript.messages import Transcript, instruction_messages, split_messages, to_messages
from hostedagent.protocol.types import Item, Json
from hostedagent.protocol.values import rows_of
from hostedagent.stores.seals import Seals

if TYPE_CHECKING:
    from agent_framework import AgentSession, CompactionStrategy, SupportsAgentRun

logger = logging.getLogger(__name__)

_MESSAGES = "messages"
"""Key of the messages in the session state of the in-memory history provider."""


class ReplayHistory:
    """The default policy. The session keeps only other state: open approvals, the state of context providers."""

    keeps_history = True

    def __init__(self, caller: CallerPolicy, seals: Seals, strategy: CompactionStrategy | None = None) -> None:
        self._trusts_roles = caller.trusts_roles
        self._seals = seals
        self._strategy = strategy

    def check(self, agent: object) -> None:
        """Refuse an agent that loads its own history from elsewhere: every turn would be duplicated."""
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
        """Read the history once, and pass it to the session or to the run."""
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
        is_read = session is not None and reads_session(agent)
        may_compact = _may_compact(request, continuation, items)
        if not may_compact and not is_read:
            return Feed(await off_loop(much, to_messages, items, request.input, **given), session)
        given["first_new"] = first_new_item(request)
        transcript = await off_loop(much, split_messages, items, request.input, **given)
        compaction = None
        if may_compact:
            transcript, compaction = await self._compacted(request, transcript, agent)
        if session is None or not is_read:
            return Feed([*transcript.history, *transcript.input], session, compaction=compaction)
        if unasked := unasked_questions(continuation):
            transcript.history.append(Message("assistant", unasked))
        if getattr(agent, "require_per_service_call_history_persistence", False):
            _show_calls(transcript.history)
        await _load(session, agent, transcript.history)
        source = history_source(agent)
        return Feed(transcript.input, session, history_source=source, agent=agent, compaction=compaction)

    async def _compacted(
        self, request: TurnRequest, transcript: Transcript, agent: SupportsAgentRun
    ) -> tuple[Transcript, Compaction | None]:
        """The transcript, compacted if it has more tokens than the request allows.

        The new messages, instructions and system messages are not changed.
        """
        # Loads Agent Framework's compaction, which most processes never need.
        from hostedagent.agents.compaction import compact
        from hostedagent.agents.tokens import count_tokens

        threshold = request.compact_threshold or 0
        whole = [*transcript.history, *transcript.input]
        if await count_tokens(agent, whole, request.options) <= threshold:
            return transcript, None
        told = instruction_messages(request.options.instructions, self._trusts_roles)
        history, new = transcript.history[len(told) :], transcript.input
        if not history:  # The input is the whole conversation: its last message is new.
            history, new = new[:-1], new[-1:]
        begun = len(history)
        if not new or new[0].role != "user":  # A turn with tool results continues the user's earlier message.
            begun = max((n for n, row in enumerate(history) if row.role == "user"), default=0)
        kept = history[begun:]
        try:
            found = await compact(agent, history[:begun], [*kept, *new], self._strategy)
        except Exception as error:  # noqa: BLE001 - the conversation may still fit
            log_failure(logger, f"The conversation of {request.response_id} was not compacted", error)
            return transcript, None
        if not found.has_changed:
            return transcript, None
        sealed = await seal_messages(self._seals, request.caller, [*found.messages, *kept, *new])
        return Transcript([*told, *found.messages, *kept], new), Compaction(sealed, found.usage)

    def after(self, feed: Feed) -> Mapping[str, Json] | None:
        """The session without the transcript, if it contains anything else."""
        if feed.session is None:
            return None
        if feed.history_source is not None:
            _state(feed.session, feed.history_source).pop(_MESSAGES, None)
        stored = feed.session.to_dict()
        state = {key: value for key, value in stored["state"].items() if value}
        return {**stored, "service_session_id": None, "state": state} if state else None


def _may_compact(request: TurnRequest, continuation: Continuation, items: Sequence[Item]) -> bool:
    """Whether a turn may compact: not twice, and not while a call or an approval request is open."""
    if request.compact_threshold is None or any(item.get("type") == ITEM for item in continuation.made):
        return False
    if continuation.snapshot.open:  # Also the requests that the input answers: their calls have not run yet.
        return False
    return not open_items(function_items([*items, *request.input]))


def _show_calls(history: Sequence[Message]) -> None:
    """Show open approval requests as their calls.

    An agent that saves its history after each model call has the calls there: the requests are created from them later,
    and answered from the session.
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
    """Put the history into the session, as an earlier run would have."""
    source = history_source(agent)
    _state(session, source)[_MESSAGES] = list(history)
    if not history:
        return
    for provider in rows_of(getattr(agent, "context_providers", None)):
        # A provider that compacts the stored history after each run has not seen this one.
        if getattr(provider, "after_strategy", None) is not None and provider.history_source_id == source:
            state = session.state.setdefault(provider.source_id, {})
            await provider.after_run(agent=agent, session=session, context=None, state=state)


def _state(session: AgentSession, source: str) -> dict[str, Any]:
    return cast("dict[str, Any]", session.state.setdefault(source, {}))
