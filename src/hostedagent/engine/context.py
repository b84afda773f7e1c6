"""What every turn of a host works with, and what one turn is given."""

from __future__ import annotations

from dataclasses import dataclass, field

from hostedagent.agents.source import AgentSource
from hostedagent.conversation.continuation import Continuation
from hostedagent.conversation.history.base import HistoryPolicy
from hostedagent.engine.concurrency import Slot
from hostedagent.engine.flow_control import Delivery
from hostedagent.engine.hooks import Hooks
from hostedagent.engine.responses import ResponseStore
from hostedagent.engine.shutdown import Drain
from hostedagent.identity import RequestContext
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.stores.approvals import Approvals
from hostedagent.stores.sessions import Sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What every turn of a host works with."""

    source: AgentSource
    history: HistoryPolicy
    workflows: HistoryPolicy
    store: ResponseStore
    sessions: Sessions
    approvals: Approvals
    run_timeout: float | None = None
    consent_origins: frozenset[str] | None = None
    hooks: Hooks = field(default_factory=Hooks)
    drain: Drain


@dataclass(slots=True, kw_only=True)
class TurnContext(RequestContext):
    """One accepted request, from its acceptance to the end of its turn.

    Args:
        request: What the caller sent; ids are added when the turn starts.
        continuation: What the turn continues.
        permit: Its place among the turns that run at the same time.
        flow: Couples the turn to the speed of its reader.
    """

    request: TurnRequest
    continuation: Continuation
    permit: Slot
    flow: Delivery
