"""What every turn of a host works with, and what one accepted request carries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hostedagent.agents.source import AgentSource
from hostedagent.conversation.continuation import Continuation
from hostedagent.conversation.history.base import HistoryPolicy
from hostedagent.engine.concurrency import Permit
from hostedagent.engine.flow_control import FlowControl
from hostedagent.engine.hooks import Hooks
from hostedagent.engine.shutdown import GracefulShutdown
from hostedagent.identity import RequestContext
from hostedagent.options import OwnTools
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Item, Json
from hostedagent.stores.approvals import Approvals
from hostedagent.stores.base import ResponseRepository
from hostedagent.stores.effects import Effects
from hostedagent.stores.sessions import Sessions

if TYPE_CHECKING:
    from agent_framework import CompactionStrategy


@dataclass(frozen=True, slots=True, kw_only=True)
class HostServices:
    """What every turn of a host works with.

    Args:
        source: Where the agent comes from.
        history: Owns the conversation of plain agents.
        workflows: Owns the conversation of workflows.
        responses: Where responses and their items are read.
        sessions: Snapshots, leases and checkpoints.
        approvals: The questions that turns ask.
        effects: The side effects that run once for each turn.
        run_timeout: Seconds after which an agent that produces nothing has failed.
        consent_origins: Where an agent may send a user for consent; `None` for anywhere.
        compaction: How conversations are compacted.
        own_tools: How calls of the agent's own tools are shown.
        streams_always: Whether the agent streams even if no client reads a stream.
        hooks: The application's functions.
        shutdown: The end of the process.
    """

    source: AgentSource
    history: HistoryPolicy
    workflows: HistoryPolicy
    responses: ResponseRepository
    sessions: Sessions
    approvals: Approvals
    effects: Effects
    run_timeout: float | None = None
    consent_origins: frozenset[str] | None = None
    own_tools: OwnTools = "mcp_call"
    compaction: CompactionStrategy | None = None
    streams_always: bool = False
    hooks: Hooks = field(default_factory=Hooks)
    shutdown: GracefulShutdown


@dataclass(slots=True, kw_only=True)
class TurnContext(RequestContext):
    """One accepted request, from its acceptance to the end of its turn.

    Args:
        turn: The request; ids are added when the turn starts, and `before_run` may change it.
        continuation: What the turn continues.
        permit: Its place among the turns that run at the same time.
        flow: Couples the turn to the speed of its reader.
        kept_input: The input items to store, where they were not given to the SDK.
        is_steered: Whether newer input waits, so that the turn ends once the calls of a step have their results.
        is_kept: Whether a turn in the foreground goes on without its client, which asks for it again.
        on_over: Called when the driver is done with the request. A turn in the foreground must end then.
        queued_at: When the response was created, in seconds since the epoch, if its turn waited in the queue.
        body: The request's body, where the driver's background turns are resumed by the engine.
    """

    continuation: Continuation
    permit: Permit
    flow: FlowControl
    kept_input: Sequence[Item] | None = None
    is_steered: bool = False
    is_kept: bool = False
    on_over: Callable[[], None] | None = None
    queued_at: int | None = None
    body: Mapping[str, Json] | None = None

    @property
    def request(self) -> TurnRequest:
        """The request."""
        assert isinstance(self.turn, TurnRequest)
        return self.turn
