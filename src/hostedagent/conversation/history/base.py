"""The contract of a history policy."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from msgspec import Struct

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


class Compaction(Struct, frozen=True):
    """The result of compacting a conversation.

    Args:
        sealed: The `encrypted_content` of the item that replaces everything before the run.
    """

    sealed: str
    usage: UsageDetails | None = None


class Feed(Struct):
    """The input of a run.

    Args:
        run: Runs the agent, if not its own `run` method.
        history_source: The key of the session's state that contains a copy of the host's transcript.
        compaction: The result of compacting the conversation, if it was compacted.
    """

    messages: list[Message]
    session: AgentSession | None = None
    run: StatefulRun | None = None
    history_source: str | None = None
    agent: object = None
    compaction: Compaction | None = None

    def find_call(self, call_id: str) -> Content | None:
        """The call with this id from an earlier turn, if the run's input contains it."""
        earlier: Sequence[Message] = ()
        if self.session is not None and self.history_source is not None:
            earlier = self.session.state.get(self.history_source, {}).get("messages", ())
        contents = [content for message in (*earlier, *self.messages) for content in message.contents]
        found = [row for row in contents if row.type == "function_call" and row.call_id == call_id]
        return found[-1] if found else None


class StatefulRun(Protocol):
    """A run that stores a state of its own."""

    def start(self) -> AsyncIterable[AgentResponseUpdate]:
        """Start the run."""
        ...

    async def save(self) -> WorkflowState | None:
        """Store the state of the run, before its response is stored.

        Raises:
            Exception: It cannot be stored, so the turn has failed.
        """
        ...

    async def prune(self) -> None:
        """Delete old state, once the turn is saved. Never raises."""
        ...


class HistoryPolicy(Protocol):
    """Owns the conversation's state for a turn.

    Concurrency: one policy serves all turns; the calls for one turn are made in order, from one task.
    Exceptions: a `RequestError` refuses the turn with its message; any other error fails it.
    Cancellation: `before` may be cancelled at any point; it changes nothing that outlives the turn.
    """

    keeps_history: bool
    """Whether the host keeps the conversation, so that the model's service should not."""

    def check(self, agent: object) -> None:
        """Refuse an agent whose conversation is already kept elsewhere.

        Raises:
            ConfigurationError: The conversation is kept elsewhere.
        """
        ...

    async def before(
        self, request: TurnRequest, continuation: Continuation, history: ReadHistory, agent: SupportsAgentRun
    ) -> Feed:
        """Prepare the input of the agent; called once, before the run. `history` reads the items before the turn."""
        ...

    def after(self, feed: Feed) -> Mapping[str, Json] | None:
        """The session's state for later turns, after a successful run; `None` if there is none."""
        ...
