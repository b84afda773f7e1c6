"""Decides which agents need a session, and finds their conversation in it.

An agent of Agent Framework reads the conversation from the session's in-memory history, and its run gets only the new
messages. Middleware, memory and compaction rely on that. An agent without any of these runs faster without a session,
with the whole transcript as its messages; so does an agent from outside Agent Framework.
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
    """Whether the agent takes its conversation from the session, as `Agent` and its subclasses do."""
    return (
        hasattr(agent, "client")
        and hasattr(agent, "default_options")
        and isinstance(getattr(agent, "context_providers", None), list)
    )


def needs_session(agent: object) -> bool:
    """Whether a run of the agent reads its session or stores something in it for later runs.

    An agent of Agent Framework does neither if it has no context providers and no middleware, and if its tools neither
    need approval nor take the session. Other agents always get a session.
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
    except TypeError:  # Not hashable, so the result cannot be cached.
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
