"""Which agents need a session, and where in a session Agent Framework keeps their conversation.

An agent of Agent Framework reads the conversation from the session's in-memory history and receives only what is new
as the messages of a run. Middleware, memory and compaction rely on that. An agent without any of these runs without a
session, on the transcript as its messages, which is faster; so does an agent that is not Agent Framework's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, get_type_hints

from agent_framework import FunctionInvocationContext, HistoryProvider, InMemoryHistoryProvider

from hostedagent.agents.run import own_tools
from hostedagent.protocol.values import rows_of


def reads_session(agent: object) -> bool:
    """Whether the agent takes its conversation from the session, as `Agent` and what is derived from it do."""
    return (
        hasattr(agent, "client")
        and hasattr(agent, "default_options")
        and isinstance(getattr(agent, "context_providers", None), list)
    )


def needs_session(agent: object) -> bool:
    """Whether a run of the agent reads its session or leaves something in it that a later run needs.

    An agent of Agent Framework without context providers and middleware, whose tools never ask and never see the
    session, does neither. Nothing is known of other agents, so they get one.
    """
    if not reads_session(agent):
        return True
    client = getattr(agent, "client", None)
    parts = [
        *(getattr(agent, name, None) for name in ("context_providers", "middleware", "mcp_tools")),
        *(getattr(client, name, None) for name in ("chat_middleware", "function_middleware")),
    ]
    return any(parts) or any(_uses_session(tool) for tool in own_tools(agent))


def _uses_session(tool: object) -> bool:
    if getattr(tool, "approval_mode", None) not in (None, "never_require"):
        return True
    function = getattr(tool, "func", None)
    if not callable(function):
        return False
    try:
        return _takes_context(function)
    except TypeError:  # It cannot be hashed, so it cannot be remembered either.
        return True


@lru_cache(maxsize=256)
def _takes_context(function: Callable[..., Any]) -> bool:
    """Whether Agent Framework passes a tool its invocation context, which has the session."""
    try:
        parameters = inspect.signature(function).parameters
        hints = get_type_hints(function)
    except (TypeError, ValueError, NameError):
        return True
    return "ctx" in parameters or any(FunctionInvocationContext in _alternatives(kind) for kind in hints.values())


def _alternatives(kind: object) -> Sequence[object]:
    return (kind, *getattr(kind, "__args__", ()))


def history_providers(agent: object) -> list[HistoryProvider]:
    """The providers that load history into the agent's runs."""
    providers = rows_of(getattr(agent, "context_providers", None))
    return [row for row in providers if isinstance(row, HistoryProvider) and row.load_messages]


def history_source(agent: object) -> str:
    """The key of a session's state under which the agent finds its conversation."""
    for provider in history_providers(agent):
        if isinstance(provider, InMemoryHistoryProvider):
            return provider.source_id
    return InMemoryHistoryProvider.DEFAULT_SOURCE_ID
