"""Sessions of runs: loads the session that a turn continues, and stores it afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent_framework import AgentSession, Content

from hostedagent.agents.session_use import history_providers
from hostedagent.agents.standing_rules import keeps_rules, standing_response
from hostedagent.conversation.continuation import Continuation
from hostedagent.conversation.history.base import Feed, ReadHistory
from hostedagent.conversation.history.foundry_provider import HostedTurn
from hostedagent.errors import ConfigurationError, InvalidRequest
from hostedagent.identity import current_context
from hostedagent.off_loop import off_loop
from hostedagent.options import CallerPolicy
from hostedagent.protocol.ids import chain_of
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.transcript.approvals import Answered
from hostedagent.protocol.transcript.messages import to_messages
from hostedagent.protocol.types import Json
from hostedagent.stores.approvals import ApprovalDecision

if TYPE_CHECKING:
    from agent_framework import SupportsAgentRun


def stores_by_default(agent: object) -> bool:
    """Whether the agent's chat client lets the model's service keep the conversation."""
    return bool(getattr(getattr(agent, "client", None), "STORES_BY_DEFAULT", False))


def open_session(request: TurnRequest, continuation: Continuation, agent: SupportsAgentRun) -> AgentSession | None:
    """The session that the turn continues, or a new one; `None` for a workflow, whose state is its checkpoints."""
    if hasattr(agent, "workflow"):
        return None
    if continuation.snapshot.session is not None:
        return AgentSession.from_dict(dict(continuation.snapshot.session))
    # The same in every turn, also where nothing was kept: providers keep files and memories by the session's id.
    anchor = request.conversation_id or chain_of(request.response_id)
    return AgentSession(session_id=request.scope.key("session", anchor))


def answered(continuation: Continuation, agent: object) -> Answered:
    """The approvals that the turn answers, from their records.

    Raises:
        InvalidRequest: An answer creates a standing rule, and the agent cannot keep it.
    """
    if not continuation.answers:
        return Answered()
    check_rules(continuation, agent)
    batches = _answered_batches(continuation)
    waiting = {row.request_id for row in continuation.snapshot.open.values() if row.asked_by in batches}
    responses = {answer.approval.item_id: approval_response(answer) for answer in continuation.answers}
    return Answered(responses, frozenset(waiting))


def check_rules(continuation: Continuation, agent: object) -> None:
    """Check that the agent keeps the standing rules that the answers create.

    Raises:
        InvalidRequest: It has no `ToolApprovalMiddleware`.
    """
    for answer in continuation.answers:
        if answer.standing_rule is not None and not keeps_rules(agent):
            param = answer.param.replace("approval_request_id", "always_approve")
            raise InvalidRequest(
                f"{param}: this agent keeps no standing approvals. Approve each call, or give the agent a "
                "ToolApprovalMiddleware.",
                param=param,
            )


def unasked_questions(continuation: Continuation) -> list[Content]:
    """The approval requests queued in the session behind the answered ones, which no caller has seen yet."""
    batches = _answered_batches(continuation)
    return [
        Content.from_function_approval_request(
            row.request_id,
            Content.from_function_call(row.call_id or "", row.name, arguments=row.arguments, id=row.request_id),
        )
        for item_id, row in continuation.snapshot.open.items()
        if item_id == row.request_id and row.asked_by in batches
    ]


def _answered_batches(continuation: Continuation) -> set[str]:
    """The responses that first asked for what is answered: their calls run together."""
    answered_ids = {answer.approval.item_id for answer in continuation.answers}
    return {row.asked_by for item_id, row in continuation.snapshot.open.items() if item_id in answered_ids}


def approval_response(decision: ApprovalDecision) -> Content:
    """An answer in Agent Framework's form."""
    asked = decision.approval
    call = Content.from_function_call(
        asked.call_id or asked.request_id,
        asked.name,
        arguments=asked.arguments,
        id=None if asked.hosted else asked.request_id,
        hosted=asked.hosted or None,
        server_name=asked.server,
    )
    if decision.standing_rule is not None:
        request = Content.from_function_approval_request(asked.request_id, call)
        return standing_response(request, decision.standing_rule)
    properties = {"hostedagent": {"reason": decision.reason}} if decision.reason else None
    return Content.from_function_approval_response(
        decision.approved, asked.request_id, call, additional_properties=properties
    )


class SessionHistory:
    """`session`: the agent's own history provider keeps the conversation; only new messages are sent.

    Providers identify a conversation by its session id, so a branch of a response chain joins the conversation that it
    branches from.
    """

    keeps_history = True

    def __init__(self, caller: CallerPolicy) -> None:
        self._trusts_roles = caller.trusts_roles

    def check(self, agent: object) -> None:
        """Refuse an agent whose model service would also keep the conversation."""
        if not history_providers(agent) and stores_by_default(agent):
            raise ConfigurationError(
                "history='session' needs an agent with a history provider: the chat client of this one leaves the "
                "conversation to the model's service. Add a provider, or choose history='service'."
            )

    async def before(
        self, request: TurnRequest, continuation: Continuation, history: ReadHistory, agent: SupportsAgentRun
    ) -> Feed:
        """Send the new messages, with the session."""
        if (context := current_context()) is not None:
            context.hosted_history = HostedTurn(history, self._trusts_roles)
        return await new_only(request, continuation, agent, trusts_roles=self._trusts_roles)

    def after(self, feed: Feed) -> Mapping[str, Json] | None:
        """The session, with the id by which the provider finds the conversation."""
        return kept_session(feed)


async def new_only(
    request: TurnRequest, continuation: Continuation, agent: SupportsAgentRun, *, trusts_roles: bool
) -> Feed:
    """The new input alone, with the session."""
    messages = await off_loop(
        len(request.input),
        to_messages,
        (),
        request.input,
        trusts_roles=trusts_roles,
        answered=answered(continuation, agent),
        is_whole=False,
        made=continuation.made,
        instructions=request.options.instructions,
        reader=request.reader,
    )
    return Feed(messages, open_session(request, continuation, agent), agent=agent)


def kept_session(feed: Feed) -> Mapping[str, Json] | None:
    """The whole session."""
    return dict(feed.session.to_dict()) if feed.session is not None else None
