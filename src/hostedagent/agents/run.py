"""Starts a run, and passes options, tools and session to agents whose `run` takes them."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from agent_framework import ChatMiddlewareLayer, FunctionInvocationLayer

from hostedagent.agents.model_calls import Guard, ModelCalls
from hostedagent.agents.sendable import SENDABLE, can_send, led_by_user, may_change, sendable
from hostedagent.agents.whole_run import WholeRun
from hostedagent.errors import ConfigurationError
from hostedagent.protocol.content import ToolRoles
from hostedagent.protocol.request.options import client_options
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Json
from hostedagent.protocol.values import fields_of, rows_of

if TYPE_CHECKING:
    from agent_framework import (
        AgentResponse,
        AgentResponseUpdate,
        AgentSession,
        Message,
        MiddlewareTypes,
        SupportsAgentRun,
    )


async def start_run(
    agent: SupportsAgentRun,
    messages: Sequence[Message],
    request: TurnRequest,
    *,
    session: AgentSession | None,
    keeps_history: bool,
    calls: ModelCalls | None = None,
    continuation_token: Mapping[str, Json] | None = None,
    streams: bool = True,
) -> AsyncIterable[AgentResponseUpdate]:
    """Start a run. Agents return a stream or, as the documentation's custom agents do, a coroutine of one.

    Args:
        session: Passed to agents that take one, unless `None`.
        keeps_history: Whether the host keeps the conversation, so that the model's service should not.
        calls: Watches the model calls of the run, so that no tool call of a truncated answer runs.
        continuation_token: Resumes background work of the model's service instead of starting it again.
    """
    accepted = _accepted(agent)
    arguments: dict[str, Any] = {"stream": True} if streams and _takes(accepted, "stream") else {}
    if session is not None and _takes(accepted, "session"):
        arguments["session"] = session
    tools = request.options.tools.for_run()
    if tools and _takes(accepted, "tools"):
        arguments["tools"] = tools
    messages, middleware = _guarded(agent, messages, accepted, calls, session)
    if middleware:
        arguments["middleware"] = middleware
    options = _chat_options(agent, request, keeps_history)
    if continuation_token is not None:
        options["continuation_token"] = dict(continuation_token)
    if options and _takes(accepted, "options"):
        arguments["options"] = options
    if not streams:
        whole = WholeRun(agent, calls or ModelCalls())
        arguments["middleware"] = [whole, *middleware]
        return whole.updates(cast("Any", agent.run)(list(messages), **arguments))
    made: Any = cast("Any", agent.run)(list(messages), **arguments)
    if not hasattr(made, "__aiter__") and inspect.isawaitable(made):
        made = await made
    return _stream(made, agent)


def _stream(made: Any, agent: object) -> AsyncIterable[AgentResponseUpdate]:
    """The updates of a run. An agent that cannot stream returns a response even if it was asked to stream."""
    if hasattr(made, "__aiter__"):
        return made
    if callable(getattr(made, "to_updates", None)) and hasattr(made, "messages"):
        return _updates(made)
    raise ConfigurationError(
        f"run of {type(agent).__name__!r} returned {type(made).__name__!r}. It must return a ResponseStream, an async "
        "iterator of AgentResponseUpdate, an AgentResponse, or an awaitable of one of these."
    )


async def _updates(response: AgentResponse) -> AsyncGenerator[AgentResponseUpdate]:
    for update in response.to_updates():
        yield update


def check_tools(agent: object, request: TurnRequest) -> None:
    """Check the caller's tools and `tool_choice` against the tools of the agent.

    Raises:
        InvalidRequest: A tool has the name of one of the agent's, or `tool_choice` names a tool that does not exist.
    """
    tools = request.options.tools
    if tools.functions:
        tools.check_names(tool_names(agent))
    if tools.chosen and (known := known_tools(agent)) is not None:
        tools.check_choice(known)


def known_tools(agent: object) -> frozenset[str] | None:
    """The names of all tools that the agent can have in a run; `None` where providers or MCP servers bring more."""
    if not hasattr(agent, "default_options") or hasattr(agent, "workflow"):
        return None
    if getattr(agent, "context_providers", None) or getattr(agent, "mcp_tools", None):
        return None
    return tool_names(agent)


def tool_names(agent: object) -> frozenset[str]:
    """The names of the tools that the agent declares."""
    return frozenset(name for tool in _tools(agent) if isinstance(name := getattr(tool, "name", None), str))


def _asking_tools(agent: object, tools: Sequence[object]) -> Container[str]:
    """The names of the tools that ask for approval, also of those that context providers bring to a run."""
    asking = [tool for tool in tools if getattr(tool, "approval_mode", None) == "always_require"]
    names = frozenset([name for tool in asking if isinstance(name := getattr(tool, "name", None), str)])
    asks = [row.asks_first for row in _providers(agent) if hasattr(row, "asks_first")]
    return _AskingTools(names, asks) if asks else names


def tool_roles(agent: object, request: TurnRequest) -> ToolRoles:
    """Which tools of a turn are run by the agent, and which by the caller."""
    servers = rows_of(getattr(agent, "mcp_tools", None))
    declared = _tools(agent)
    tools = [*declared, *[tool for server in servers for tool in _functions(server)]]
    names = {getattr(tool, "name", None): getattr(tool, "declaration_only", None) for tool in tools}
    callers = request.options.tools.names | {name for name, is_declared in names.items() if is_declared}
    own = {name for name, is_declared in names.items() if is_declared is False}
    return ToolRoles(frozenset(own), frozenset(callers), _asking_tools(agent, declared))


def _functions(server: object) -> Sequence[object]:
    return rows_of(getattr(server, "functions", None))


@dataclass(frozen=True, slots=True)
class _AskingTools(Container[str]):
    names: frozenset[str]
    asks: Sequence[Callable[[str], bool]]

    def __contains__(self, name: object) -> bool:
        return name in self.names or any(asks(cast("str", name)) for asks in self.asks)


def model_name(agent: object) -> str | None:
    """The model that the agent's chat client is configured for, if known."""
    name = getattr(getattr(agent, "client", None), "model", None)
    return name if isinstance(name, str) and name else None


def _tools(agent: object) -> Sequence[object]:
    """The tools that the agent declares; a workflow's are those of the agents inside it."""
    return [*own_tools(agent), *[tool for inner in inner_agents(agent) for tool in _tools(inner)]]


def _providers(agent: object) -> Sequence[Any]:
    return [
        *rows_of(getattr(agent, "context_providers", None)),
        *[row for inner in inner_agents(agent) for row in _providers(inner)],
    ]


def inner_agents(agent: object) -> Sequence[object]:
    """The agents and workflows inside a workflow's agent; none for other agents."""
    executors = getattr(getattr(agent, "workflow", None), "get_executors_list", None)
    if not callable(executors):
        return ()
    rows = rows_of(executors())
    # An executor holds an agent, or, like an agent of a workflow, a workflow.
    return [getattr(row, "agent", row) for row in rows if hasattr(row, "agent") or hasattr(row, "workflow")]


def name_left_out_files(agent: object) -> None:
    """Make the agents inside a workflow see a line of text for each file that their clients would drop.

    The workflow runs them rather than the host, so the middleware is installed on the agents themselves, or on the
    client of an agent that takes none.
    """
    for inner in inner_agents(agent):
        name_left_out_files(inner)
        middleware, client = getattr(inner, "middleware", ()), _client(inner)
        if can_send(client) is None or not _runs_middleware(client):
            continue
        if "middleware" not in _accepted(inner):  # A RawAgent runs none.
            layer = cast("Any", client)
            layer.chat_middleware = _with_sendable(layer.chat_middleware)
        elif type(middleware) in (list, type(None)):
            cast("Any", inner).middleware = _with_sendable(middleware)


def _runs_middleware(client: object) -> bool:
    return isinstance(client, ChatMiddlewareLayer)


def _with_sendable(middleware: object) -> list[Any]:
    return [*(row for row in rows_of(middleware) if row is not SENDABLE), SENDABLE]


def default_option(agent: object, name: str) -> object:
    """A chat option that the developer set on the agent; `None` when it is not set."""
    return fields_of(getattr(agent, "default_options", None)).get(name)


def own_tools(agent: object) -> Sequence[object]:
    """The tools that the agent itself declares, without those of agents inside it."""
    return rows_of(default_option(agent, "tools"))


def _guarded(
    agent: object,
    messages: Sequence[Message],
    accepted: frozenset[str],
    calls: ModelCalls | None,
    session: AgentSession | None,
) -> tuple[Sequence[Message], list[MiddlewareTypes]]:
    """The messages and middleware of a run that drops no file silently and runs no truncated call."""
    client, takes = _client(agent), "middleware" in accepted
    can = can_send(client)
    middleware: list[MiddlewareTypes] = []
    if can is not None and takes and _runs_middleware(client):
        if session is not None or _may_return_files(agent) or may_change(client, messages):
            middleware.append(SENDABLE)
    elif can is not None:
        messages = led_by_user(client, [sendable(message, can) for message in messages])
    if calls is not None:  # Middleware may answer without a model call.
        on_client = rows_of(getattr(client, "chat_middleware", None))
        parts = [getattr(agent, "middleware", None), [row for row in on_client if row is not SENDABLE]]
        calls.is_expected = can is not None and not any(parts)
    if calls is not None and takes and isinstance(client, FunctionInvocationLayer):
        middleware.append(Guard(calls))
    return messages, middleware


def _may_return_files(agent: object) -> bool:
    return bool(_tools(agent) or _providers(agent) or getattr(agent, "mcp_tools", None))


def _client(agent: object) -> object:
    return getattr(agent, "client", None)


def _chat_options(agent: object, request: TurnRequest, keeps_history: bool) -> dict[str, Json]:
    client = _client(agent)
    options = client_options(client, request.options.chat)
    if keeps_history and (getattr(client, "STORES_BY_DEFAULT", False) or default_option(agent, "store")):
        options["store"] = False  # The host owns the conversation: the service would keep a second copy.
    return options


def _accepted(agent: object) -> frozenset[str]:
    """The keywords that an agent's `run` takes, `**` for any. It may be a method or bound on the instance."""
    run: Any = cast("Any", agent).run
    return _keywords(getattr(run, "__func__", run))


@lru_cache(maxsize=256)
def _keywords(run: Callable[..., Any]) -> frozenset[str]:
    try:
        parameters = inspect.signature(run).parameters.values()
    except (TypeError, ValueError):  # The signature is unknown, so pass no more than the protocol's minimum.
        return frozenset({"stream", "session"})
    names = {row.name for row in parameters if row.kind in (row.KEYWORD_ONLY, row.POSITIONAL_OR_KEYWORD)}
    return frozenset(names | {"**"}) if any(row.kind == row.VAR_KEYWORD for row in parameters) else frozenset(names)


def _takes(accepted: frozenset[str], name: str) -> bool:
    return name in accepted or "**" in accepted
