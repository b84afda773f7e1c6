"""What `ToolApprovalMiddleware` keeps in a session: standing rules, and questions that it asks or answers later.

The middleware asks one question at a time and answers by itself what a rule allows. The calls behind the questions that
it has not passed on yet wait in the session, and the caller must not see them as calls without a result.
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
"""What an approval also allows from now on, and what Agent Framework makes such an approval with."""


def keeps_rules(agent: object) -> bool:
    """Whether the agent, or an agent of its workflow, has a `ToolApprovalMiddleware`."""
    return _middleware(agent) is not None or any(keeps_rules(inner) for inner in inner_agents(agent))


def standing_response(request: Content, rule: str) -> Content:
    """The approval of a question that also allows what `rule` names from now on."""
    import agent_framework  # Most turns answer nothing.

    return getattr(agent_framework, _RESPONSES[rule])(request)


def deferred_questions(agent: object, session: AgentSession | None) -> Sequence[Content]:
    """The questions that the middleware will ask, or has an answer for, in a later run."""
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
