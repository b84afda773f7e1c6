"""Checks what `AgentHost` is given: an agent of any kind, or a function that creates one.

Anything else is refused when the host is built, with a sentence that says what to write. An agent is recognised by its
members, as `SupportsAgentRun` describes them. A proxy for another object has them too, which the protocol's own
`isinstance` does not see in every version of Python.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from inspect import Parameter
from typing import Any, Final, TypeGuard

from agent_framework import BaseAgent, FunctionTool, SupportsAgentRun

from hostedagent.errors import ConfigurationError

_GIVEN: Final = frozenset({"stream", "session"})
"""The keywords that every host gives."""
_MEMBERS: Final = ("id", "name", "description", "run", "create_session", "get_session")


def is_agent(value: object) -> TypeGuard[SupportsAgentRun]:
    """Whether a value has the members of an agent. A mock with a spec has only those that its class declares."""
    if inspect.isclass(value) or not callable(getattr(value, "run", None)):
        return False
    return isinstance(value, BaseAgent) or not _missing(value)


def check_run(agent: SupportsAgentRun) -> None:
    """Check that the `run` of an agent can be called with messages.

    Raises:
        ConfigurationError: It takes none, or needs a keyword that the host does not give.
    """
    run: Any = agent.run
    try:
        parameters = inspect.signature(run).parameters.values()
    except (TypeError, ValueError):
        return
    takes_messages = any(row.kind not in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD) for row in parameters)
    wanted = [row.name for row in _required(run) if row.kind is Parameter.KEYWORD_ONLY and row.name not in _GIVEN]
    if not takes_messages or wanted:
        why = f"needs {', '.join(wanted)}, which no host gives" if takes_messages else "takes no messages"
        raise ConfigurationError(
            f"The run of {_kind(agent)} {why}. Write async def run(self, messages=None, *, stream=False, session=None)."
        )


def _missing(value: object) -> list[str]:
    return [name for name in _MEMBERS if not hasattr(value, name)]


def check_factory(factory: object) -> TypeGuard[Callable[..., Any]]:
    """Check that a value is a function that creates agents.

    Raises:
        ConfigurationError: It is not; the message says what to write instead.
    """
    if inspect.isclass(factory):
        _check_class(factory)
    else:
        _check_function(factory)
    return True


def _check_class(kind: type) -> None:
    """Check that calling a class creates an agent, a builder or a context manager of one."""
    may_create = any(callable(getattr(kind, name, None)) for name in ("run", "build", "__aenter__"))
    required = _required(kind)
    is_simple = not required or (len(required) == 1 and "TurnRequest" in str(required[0].annotation))
    if not may_create or not is_simple:
        name = kind.__name__
        raise ConfigurationError(
            f"AgentHost got the class {name}. Pass an agent, AgentHost({name}(...)), or a function that creates one "
            f"for each turn, AgentHost(lambda: {name}(...))."
        )


def _check_function(factory: object) -> None:
    if inspect.iscoroutine(factory) or inspect.isawaitable(factory):
        raise ConfigurationError(
            f"AgentHost got {_kind(factory)}, the result of calling an async function. Pass the function itself: "
            "AgentHost(create_agent), not AgentHost(create_agent())."
        )
    if callable(getattr(factory, "get_response", None)):
        raise ConfigurationError(
            f"AgentHost got the chat client {_kind(factory)}. Give it to an agent: "
            "AgentHost(Agent(client, instructions=...))."
        )
    if isinstance(factory, FunctionTool):
        raise ConfigurationError(
            f"AgentHost got the tool {factory.name!r}. Give it to an agent: AgentHost(Agent(client, tools=[...]))."
        )
    if callable(getattr(factory, "run", None)):
        raise ConfigurationError(
            f"{_kind(factory)} has run, but an agent also needs {', '.join(_missing(factory))}. Derive it from "
            "agent_framework.BaseAgent."
        )
    if not callable(factory):
        raise ConfigurationError(
            f"AgentHost takes an agent or a function that creates one, not {_kind(factory)}: {factory!r:.80}."
        )
    _check_yields(factory)


def _required(factory: Callable[..., object]) -> list[Parameter]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return []
    given = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return [row for row in parameters if row.default is row.empty and row.kind not in given]


def _check_yields(factory: Callable[..., Any]) -> None:
    name = getattr(factory, "__name__", _kind(factory))
    call: object = getattr(factory, "__call__", None)  # noqa: B004 - of an object whose class has the method
    if any(inspect.isasyncgenfunction(row) or inspect.isgeneratorfunction(row) for row in (factory, call)):
        raise ConfigurationError(
            f"{name} yields, and a factory returns an agent. Write return instead of yield; to close the agent after "
            "each turn, decorate the async function with contextlib.asynccontextmanager."
        )
    if inspect.isgeneratorfunction(getattr(factory, "__wrapped__", None)):
        raise ConfigurationError(
            f"{name} is a context manager that is not async. Make it an async function and decorate it with "
            "contextlib.asynccontextmanager."
        )


def takes_request(factory: Callable[..., object]) -> bool:
    """Whether a factory takes the turn's request; raises `ConfigurationError` when it takes something else."""
    required = _required(factory)
    if len(required) > 1 or any(row.kind is Parameter.KEYWORD_ONLY for row in required):
        names = ", ".join(row.name for row in required)
        raise ConfigurationError(f"An agent factory takes no argument or one TurnRequest; this one takes {names}.")
    return len(required) == 1


_WORKFLOW: Final = re.compile(r"\b(Functional)?Workflow(Builder|Agent)?\b")


def builds_workflows(factory: Callable[..., object]) -> bool:
    """Whether the return annotation of a factory is a workflow, so that it can be checked before the first turn."""
    if inspect.iscoroutinefunction(factory):
        return False
    try:
        returned = inspect.signature(factory).return_annotation
    except (TypeError, ValueError):
        return False
    return _WORKFLOW.search(returned.__name__ if inspect.isclass(returned) else str(returned)) is not None


def refuse_made(made: object) -> ConfigurationError:
    """The error for a factory that returned something other than an agent."""
    if made is None:
        return ConfigurationError("The agent factory returned None. Does it end with return agent?")
    if inspect.isasyncgen(made) or inspect.isgenerator(made):
        return ConfigurationError(
            f"The agent factory returned {_kind(made)}. A factory returns an agent, and does not yield the answer."
        )
    if inspect.isclass(made):
        return ConfigurationError(f"The agent factory returned the class {made.__name__}, not an agent.")
    missing = ", ".join(_missing(made))
    return ConfigurationError(f"The agent factory returned {_kind(made)}, which is not an agent: it has no {missing}.")


def _kind(value: object) -> str:
    return f"a {type(value).__name__!r}"
