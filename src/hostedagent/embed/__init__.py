"""The Responses protocol in routes that an application owns, in any web framework.

The names are those of `agent-framework-hosting` and `agent-framework-hosting-responses`, so that moving here is one
import line. Every content type has the same mapping as under `AgentHost`, streamed and whole.
"""

from __future__ import annotations

from hostedagent.embed.requests import (
    create_conversation_id,
    create_response_id,
    messages_from_responses_input,
    responses_session_id,
    responses_to_run,
)
from hostedagent.embed.results import responses_from_run, responses_from_streaming_run
from hostedagent.embed.state import (
    AgentRunArgs,
    AgentState,
    SessionStore,
    SupportsBuild,
    WorkflowRunArgs,
    WorkflowState,
)
from hostedagent.embed.turns import Turns
from hostedagent.errors import RequestError
from hostedagent.identity import Caller
from hostedagent.server.turn import Turn

__all__ = [
    "AgentRunArgs",
    "AgentState",
    "Caller",
    "RequestError",
    "SessionStore",
    "SupportsBuild",
    "Turn",
    "Turns",
    "WorkflowRunArgs",
    "WorkflowState",
    "create_conversation_id",
    "create_response_id",
    "messages_from_responses_input",
    "responses_from_run",
    "responses_from_streaming_run",
    "responses_session_id",
    "responses_to_run",
]
