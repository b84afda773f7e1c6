"""The contract of a history policy."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from hostedagent.agents.standing_rules import deferred_questions
from hostedagent.conversation.continuation import Continuation
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Item, Json
from hostedagent.stores.checkpoints import OpenRequest, WorkflowState

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate, AgentSession, Content, Message, SupportsAgentRun, UsageDetails

KeepCheckpoint: TypeAlias = Callable[[bytes, Mapping[str, OpenRequest]], Awaitable[None]]
"""Keeps a checkpoint, and what the workflow waits for in it."""

ReadHistory: TypeAlias = Callable[[], Awaitable[Sequence[Item]]]
"""Reads the items before the turn."""


@dataclass(frozen=True, slots=True)
class Compaction:
    """What the history left of a conversation that was too long.

    Args:
        sealed: The `encrypted_content` of the item that stands for everything before the run.
        usage: What making it cost.
    """

    sealed: str
    usage: UsageDetails | None = None


@dataclass(slots=True)
class Feed:
    """The input of a run.

    Args:
        messages: The messages that are passed to the run.
        session: The session that is passed to the run.
        run: How the agent is run, where not by its own `run` method.
        history_source: The key of the session's state that holds a copy of the host's transcript.
        agent: The agent that is run.
        compaction: What the conversation was compacted to, if it was.
    """

    messages: list[Message]
    session: AgentSession | None = None
    run: StatefulRun | None = None
    history_source: str | None = None
    agent: object = None
    compaction: Compaction | None = None

    def deferred_questions(self) -> Sequence[Content]:
        """The questions that the run left in its session, to be asked or answered by a later run."""
        return deferred_questions(self.agent, self.session)

    def find_call(self, call_id: str) -> Content | None:
        """The call of an earlier turn that has this id, as far as the run is given it."""
        earlier: Sequence[Message] = ()
        if self.session is not None and self.history_source is not None:
            earlier = self.session.state.get(self.history_source, {}).get("messages", ())
        contents = [content for message in (*earlier, *self.messages) for content in message.contents]
        found = [row for row in contents if row.type == "function_call" and row.call_id == call_id]
        return found[-1] if found else None


class StatefulRun(Protocol):
    """The run of one turn that leaves a state of its own."""

    def start(self) -> AsyncIterable[AgentResponseUpdate]:
        """Start the run."""
        ...

    async def save(self) -> WorkflowState | None:
        """Keep what the run leaves, before its response is stored.

        Raises:
            Exception: It cannot be kept; the turn has failed then.
        """
        ...

    async def prune(self) -> None:
        """Drop what is kept too long, once the turn is saved. Never raises."""
        ...


class HistoryPolicy(Protocol):
    """Owns the conversation's state for a turn.

    Concurrency: one policy serves all turns; the calls of one turn come in order, from one task.
    Exceptions: a `RequestError` refuses the turn with its message; anything else fails it.
    Cancellation: `before` may be cancelled at any point; it changes nothing that outlives the turn.
    """

    keeps_history: bool
    """Whether the host keeps the conversation, so that the model's service should not."""

    def check(self, agent: object) -> None:
        """Refuse an agent whose conversation something else keeps already.

        Raises:
            ConfigurationError: Somebody does.
        """
        ...

    async def before(
        self, request: TurnRequest, continuation: Continuation, history: ReadHistory, agent: SupportsAgentRun
    ) -> Feed:
        """Decide what the agent receives; called once, before the run. `history` reads the items before the turn."""
        ...

    def after(self, feed: Feed) -> Mapping[str, Json] | None:
        """The session's state that later turns need, after a run that counts; `None` when there is none."""
        ...
