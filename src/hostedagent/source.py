"""Where the agent of a turn comes from: one instance, or a factory that makes a fresh one for each turn.

An instance is never changed: a turn gets a shallow copy with its own list of context providers, because a run may add
to that list. What a factory makes belongs to the turn and is closed at its end.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from inspect import Parameter
from typing import Any, Final, TypeAlias, cast

from agent_framework import SupportsAgentRun, Workflow, WorkflowAgent, WorkflowBuilder

from hostedagent.errors import ConfigurationError
from hostedagent.request.turn import TurnRequest

logger = logging.getLogger(__name__)

Made: TypeAlias = SupportsAgentRun | Workflow | WorkflowBuilder
AgentFactory: TypeAlias = Callable[[], Made | Awaitable[Made]] | Callable[[TurnRequest], Made | Awaitable[Made]]

CLOSE_SECONDS: Final = 10.0
"""How long an agent may take to close."""


class AgentSource:
    """Opens and closes the agent of each turn.

    Args:
        agent_or_factory: A `SupportsAgentRun`, or a function of no argument or of one `TurnRequest`, sync or async,
            that returns a fresh agent, `Workflow` or `WorkflowBuilder`.

    Raises:
        ConfigurationError: It is neither, or a workflow instance, which can serve one run only.
    """

    def __init__(self, agent_or_factory: SupportsAgentRun | AgentFactory) -> None:
        self.instance: SupportsAgentRun | None = None
        self._factory: Callable[..., Any] | None = None
        self._factory_takes_request = False
        if _is_workflow(agent_or_factory):
            raise ConfigurationError(
                "A workflow keeps the state of its run, so one instance can't serve several turns. "
                "Pass a function that builds a fresh one: AgentHost(lambda: build_workflow())."
            )
        if isinstance(agent_or_factory, SupportsAgentRun) and not inspect.isclass(agent_or_factory):
            self.instance = agent_or_factory
        elif callable(agent_or_factory):
            self._factory = agent_or_factory
            self._factory_takes_request = _arity(agent_or_factory) == 1
        else:
            raise ConfigurationError(
                f"AgentHost takes an agent or a function that makes one, not {type(agent_or_factory).__name__!r}."
            )

    @asynccontextmanager
    async def open(self, request: TurnRequest) -> AsyncGenerator[SupportsAgentRun]:
        """The agent of one turn.

        Exceptions: whatever the factory raises; `ConfigurationError` when it made something that cannot run.
        Cancellation: closing is shielded and bounded, and its failure never hides an earlier error.
        """
        if self.instance is not None:
            yield _own_copy(self.instance)
            return
        agent = await self._make(request)
        try:
            yield agent
        finally:
            await close(agent)

    async def _make(self, request: TurnRequest) -> SupportsAgentRun:
        assert self._factory is not None
        made = self._factory(request) if self._factory_takes_request else self._factory()
        if inspect.isawaitable(made):
            made = await made
        if callable(build := getattr(made, "build", None)):
            made = build()
        if callable(as_agent := getattr(made, "as_agent", None)) and not hasattr(made, "create_session"):
            made = as_agent()
        if not isinstance(made, SupportsAgentRun):
            raise ConfigurationError(f"The agent factory returned {type(made).__name__!r}, which cannot run.")
        return made

    async def aclose(self) -> None:
        """Close the instance, at the end of the process."""
        if self.instance is not None:
            await close(self.instance)


async def close(agent: object) -> None:
    """Close an agent that has a `close`, shielded from cancellation and bounded in time."""
    closer = getattr(agent, "close", None)
    if not callable(closer):
        return
    try:
        result = closer()
        if inspect.isawaitable(result):
            task = asyncio.ensure_future(cast("Awaitable[object]", result))
            await asyncio.shield(asyncio.wait_for(task, CLOSE_SECONDS))
    except Exception:
        logger.warning("Closing the agent failed.", exc_info=True)


def _own_copy(agent: SupportsAgentRun) -> SupportsAgentRun:
    providers = getattr(agent, "context_providers", None)
    if not isinstance(providers, list):
        return agent
    own = cast("Any", copy.copy(agent))
    own.context_providers = list(cast("list[object]", providers))
    return own


def is_workflow_agent(agent: object) -> bool:
    """Whether an agent is a workflow's, which keeps its state in checkpoints."""
    return isinstance(agent, WorkflowAgent)


def _is_workflow(value: object) -> bool:
    if inspect.isclass(value) or inspect.isfunction(value):
        return False
    is_workflow = hasattr(value, "as_agent") and hasattr(value, "run") and not hasattr(value, "create_session")
    is_builder = hasattr(value, "add_edge") and hasattr(value, "build")
    return is_workflow or is_builder or hasattr(value, "workflow")


def _arity(factory: Callable[..., object]) -> int:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return 0
    given = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    required = [row for row in parameters if row.default is row.empty and row.kind not in given]
    if len(required) > 1 or any(row.kind is Parameter.KEYWORD_ONLY for row in required):
        names = ", ".join(row.name for row in required)
        raise ConfigurationError(f"An agent factory takes no argument or one TurnRequest; this one takes {names}.")
    return len(required)
