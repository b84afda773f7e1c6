"""Provides the agent of a turn: one shared instance, or a fresh one from a factory.

An agent from a factory belongs to its turn and is closed at its end. A factory may also return an
async context manager, or an agent that is one and has no `close`; it is entered and exited.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast
from weakref import WeakSet

from hostedagent.agents.candidates import (
    builds_workflows,
    check_factory,
    check_run,
    is_agent,
    refuse_made,
    takes_request,
)
from hostedagent.agents.exits import exits_as_errors
from hostedagent.agents.resources import TurnResources, begin_turn_resources
from hostedagent.agents.run import name_left_out_files
from hostedagent.errors import ConfigurationError
from hostedagent.observability.logging import log_failure
from hostedagent.protocol.request.turn_request import TurnRequest

if TYPE_CHECKING:  # Workflows are a large part of Agent Framework, and most hosts have none.
    from agent_framework import FunctionalWorkflowDefinition, SupportsAgentRun, Workflow, WorkflowBuilder

    from hostedagent.agents.served_workflow import ServedWorkflow

logger = logging.getLogger(__name__)

Made: TypeAlias = "SupportsAgentRun | Workflow | WorkflowBuilder"
Given: TypeAlias = "Made | Awaitable[Made] | AbstractAsyncContextManager[Made]"
"""Return type of a factory: the agent, an awaitable of it, or an async context manager of it."""

AgentFactory: TypeAlias = Callable[[], Given] | Callable[[TurnRequest], Given]

CLOSE_SECONDS: Final = 10.0
"""Seconds that closing an agent may take."""


class AgentSource:
    """Opens and closes the agent of each turn.

    Args:
        agent_or_factory: A `SupportsAgentRun`, or a function of no argument or of one `TurnRequest`, sync or async,
            that returns a fresh agent, `Workflow` or `WorkflowBuilder`; or a function that `@workflow` decorates.

    Attributes:
        instance: The agent that all turns share; `None` if there is a factory.
        sample: A workflow from the factory, to be checked before the first turn; `None` if the factory is not annotated
            as returning a workflow, or takes the request.

    Raises:
        ConfigurationError: The argument is none of these, or a workflow instance, which can serve only one run.
    """

    def __init__(self, agent_or_factory: SupportsAgentRun | AgentFactory | FunctionalWorkflowDefinition) -> None:
        self.instance: SupportsAgentRun | None = None
        self._factory: Callable[..., Any] | None = None
        self._factory_takes_request = False
        self._served: WeakSet[Any] = WeakSet()
        if is_definition(agent_or_factory):
            agent_or_factory = cast("AgentFactory", cast("Any", agent_or_factory).build)
        if is_workflow(agent_or_factory):
            raise ConfigurationError(
                "A workflow keeps the state of its run, so one instance can't serve several turns. "
                "Pass a function that builds a fresh one: AgentHost(lambda: build_workflow())."
            )
        if is_agent(agent_or_factory):
            check_run(agent_or_factory)
            self.instance = agent_or_factory
        elif check_factory(agent_or_factory):
            self._factory = agent_or_factory
            self._factory_takes_request = takes_request(agent_or_factory)
        self.sample = self._built_sample()

    def _built_sample(self) -> ServedWorkflow | None:
        if self._factory is None or self._factory_takes_request or not builds_workflows(self._factory):
            return None
        try:
            made = _agent_of(self._factory())
        except Exception as error:  # noqa: BLE001 - whatever it needs may be there when a turn comes
            log_failure(logger, "The workflow cannot be checked before its first turn", error)
            return None
        return cast("ServedWorkflow", made) if is_workflow_agent(made) else None

    async def open(self, request: TurnRequest, until: AsyncExitStack) -> SupportsAgentRun:
        """The agent of one turn.

        Exceptions: whatever the factory raises; `ConfigurationError` when it made something that cannot run.
        Cancellation: closing is shielded and bounded, and its failure never hides an earlier error.

        Args:
            until: Closes what the turn opens when it is left.
        """
        until.push_async_callback(_close_resources, begin_turn_resources())
        if self.instance is not None:
            return self.instance
        made = await self._make(request)
        if _must_be_entered(made):
            held = Held(cast("AbstractAsyncContextManager[object]", made))
            until.push_async_callback(close, held)
            return self._fresh(_agent_of(await held.entered()))
        agent = self._fresh(_agent_of(made))
        until.push_async_callback(close, agent)
        return agent

    def with_session(self, agent: SupportsAgentRun) -> SupportsAgentRun:
        """The agent for a run with a session, which may add a context provider: of the instance, a copy of its own."""
        providers = getattr(agent, "__dict__", {}).get("context_providers")
        # An agent from a factory is the turn's own; the copy of a proxy might share its state.
        if agent is not self.instance or not isinstance(providers, list):
            return agent
        own = cast("Any", copy.copy(agent))
        own.context_providers = list(cast("list[object]", providers))
        return own

    async def _make(self, request: TurnRequest) -> object:
        assert self._factory is not None
        made = self._factory(request) if self._factory_takes_request else self._factory()
        if inspect.isawaitable(made):
            made = await made
        return made

    def _fresh(self, agent: SupportsAgentRun) -> SupportsAgentRun:
        """Check that no other turn used the workflow: its state would belong to another conversation or user."""
        if is_workflow_agent(agent):
            workflow = cast("Any", agent).workflow
            if workflow in self._served:
                raise ConfigurationError(
                    "The factory returned a workflow that another turn had. Build a new one each time it is called."
                )
            self._served.add(workflow)
            name_left_out_files(agent)
        return agent

    async def aclose(self) -> None:
        """Close the instance, at the end of the process."""
        if self.instance is not None:
            await close(self.instance)


def _agent_of(made: Any) -> SupportsAgentRun:
    if callable(build := getattr(made, "build", None)):
        made = build()
    if is_workflow(made):
        from hostedagent.agents.served_workflow import as_served  # Not at the top, see there.

        made = as_served(made) or made
    elif callable(as_agent := getattr(made, "as_agent", None)) and not hasattr(made, "create_session"):
        made = as_agent()
    if not is_agent(made):
        raise refuse_made(made)
    return made


def _must_be_entered(made: object) -> bool:
    """Whether a value must be entered: an async context manager without `close`."""
    return hasattr(made, "__aenter__") and not callable(getattr(made, "close", None))


class Held:
    """Enters and exits a context manager in one task of its own, because a turn is driven by several tasks.

    Exceptions: `entered` raises errors of entering, `close` those of exiting.
    Cancellation: cancelling `close` cancels the exit.
    """

    def __init__(self, manager: AbstractAsyncContextManager[object]) -> None:
        self._value: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._is_over = asyncio.Event()
        self._task = asyncio.create_task(self._hold(manager), name="hostedagent-agent")

    async def _hold(self, manager: AbstractAsyncContextManager[object]) -> None:
        async with manager as value:
            self._value.set_result(manager if value is None else value)
            await self._is_over.wait()

    async def entered(self) -> object:
        """The value of the entered context manager."""
        await asyncio.wait({self._task, self._value}, return_when=asyncio.FIRST_COMPLETED)
        if not self._value.done():
            self._task.result()
        return self._value.result()

    async def close(self) -> None:
        """Exit the context manager, or stop entering it."""
        self._is_over.set()
        if self._task.done():  # Entering failed, and `entered` raised the error.
            return
        if not self._value.done():
            self._task.cancel()
        try:
            await asyncio.wait({self._task})
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        if not self._task.cancelled():
            self._task.result()


async def _close_resources(resources: TurnResources) -> None:
    if resources:
        await close(resources)


async def close(agent: object) -> None:
    """Close an agent that has a `close`, shielded from cancellation and bounded in time."""
    closer = getattr(agent, "close", None)
    if not callable(closer):
        return
    try:
        with exits_as_errors():
            result = closer()
            if inspect.isawaitable(result):
                closing = asyncio.ensure_future(cast("Awaitable[object]", result))
                await asyncio.shield(asyncio.ensure_future(_bounded(closing)))
                closing.result()
    except Exception as error:  # noqa: BLE001 - the turn has ended, and stays as it ended
        log_failure(logger, "Closing the agent failed", error)


async def _bounded(closing: asyncio.Future[object]) -> None:
    done, _ = await asyncio.wait({closing}, timeout=CLOSE_SECONDS)
    if not done:
        closing.cancel()
        await asyncio.wait({closing}, timeout=CLOSE_SECONDS)
        raise TimeoutError


def is_workflow_agent(agent: object) -> bool:
    """Whether an agent is a workflow's, which keeps its state in checkpoints."""
    if not hasattr(agent, "workflow"):
        return False
    from hostedagent.agents.served_workflow import ServedWorkflow  # Not at the top, see there.

    return isinstance(agent, ServedWorkflow)


def is_definition(value: object) -> bool:
    """Whether a value is a function that `@workflow` decorates, from which each turn builds its own workflow."""
    return hasattr(value, "__wrapped__") and callable(getattr(value, "build", None)) and not hasattr(value, "run")


def is_workflow(value: object) -> bool:
    """Whether a value is a workflow, its builder or its agent, which only one turn can use."""
    if inspect.isclass(value) or inspect.isfunction(value):
        return False
    is_workflow = hasattr(value, "as_agent") and hasattr(value, "run") and not hasattr(value, "create_session")
    is_builder = hasattr(value, "add_edge") and hasattr(value, "build")
    is_agent_of_one = hasattr(value, "workflow") or hasattr(value, "REQUEST_INFO_FUNCTION_NAME")
    return is_workflow or is_builder or is_agent_of_one
