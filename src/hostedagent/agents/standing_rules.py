"""Reads the state that `ToolApprovalMiddleware` keeps in a session: standing rules and queued approval requests.

The middleware asks for one approval at a time and answers requests that a rule covers by itself. The calls of queued
requests wait in the session; the caller must not see them as calls without a result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from agent_framework import AgentSession, Content

from hostedagent.agents.run import inner_agents
from hostedagent.protocol.values import rows_of

if TYPE_CHECKING:
    from agent_framework import ToolApprovalMiddleware

_RESPONSES: Final[Mapping[str, str]] = {
    "tool": "create_always_approve_tool_response",
    "tool_with_arguments": "create_always_approve_tool_with_arguments_response",
}
"""Scope of a standing approval, to the function of Agent Framework that creates it."""


def keeps_rules(agent: object) -> bool:
    """Whether the agent, or an agent of its workflow, has a `ToolApprovalMiddleware`."""
    return _middleware(agent) is not None or any(keeps_rules(inner) for inner in inner_agents(agent))


def standing_response(request: Content, rule: str) -> Content:
    """An approval that also creates the standing rule named by `rule`."""
    import agent_framework  # Most turns answer nothing.

    return getattr(agent_framework, _RESPONSES[rule])(request)


def deferred_questions(agent: object, session: AgentSession | None) -> Sequence[Content]:
    """The approval requests that the middleware will ask or answer in a later run."""
    middleware = _middleware(agent)
    if middleware is None or session is None:
        return ()
    from agent_framework import ToolApprovalState

    kept = cast("Any", session.state.get(middleware.source_id))
    if kept is None:
        return ()
    state = kept if isinstance(kept, ToolApprovalState) else ToolApprovalState.from_dict(dict(kept))
    return [row for row in (*state.queued_approval_requests, *state.collected_approval_responses) if row.function_call]


def _middleware(agent: object) -> ToolApprovalMiddleware | None:
    if not (rows := rows_of(getattr(agent, "middleware", None))):
        return None
    from agent_framework import ToolApprovalMiddleware

    found = (row for row in rows if isinstance(row, ToolApprovalMiddleware))
    return next(found, None)
