"""What every turn of a host works with."""

from __future__ import annotations

from dataclasses import dataclass, field

from hostedagent.agents.source import AgentSource
from hostedagent.conversation.history.base import HistoryPolicy
from hostedagent.engine.hooks import Hooks
from hostedagent.engine.shutdown import Drain
from hostedagent.stores.approvals import Approvals
from hostedagent.stores.responses import ResponseStore
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
