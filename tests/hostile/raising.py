"""Code that raises what it must not, wherever a host runs code of its user."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from agent_framework import (
    Agent,
    AgentResponseUpdate,
    Content,
    Executor,
    WorkflowBuilder,
    WorkflowContext,
    handler,
    tool,
)

from hostedagent import Hooks, TurnRequest
from hostedagent.testing import OfflineChatClient, ScriptedAgent

SECRET: Final = "secret-1"


class Odd(BaseException):
    """Neither an exception nor an exit."""


class Unprintable(Exception):
    """Raises whenever it is looked at."""

    def __str__(self) -> str:
        raise SystemExit(SECRET)

    __repr__ = __str__

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(SECRET)


class Disguised(Exception):
    """Would end the process if it was asked for its class."""

    @property
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise SystemExit(SECRET)

    @__class__.setter
    def __class__(self, value: Any) -> None: ...


class _Nameless(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in ("__name__", "__qualname__", "__module__"):
            raise KeyboardInterrupt(SECRET)
        return super().__getattribute__(name)


class Nameless(Exception, metaclass=_Nameless):
    """Would end the process if its class was asked for its name."""


def _cyclic() -> Exception:
    first, second = ValueError(SECRET), KeyError(SECRET)
    first.__cause__, second.__cause__ = second, first
    return first


KINDS: Final[dict[str, Callable[[], BaseException]]] = {
    "sys.exit": lambda: SystemExit(SECRET),
    "Ctrl+C": lambda: KeyboardInterrupt(SECRET),
    "cancellation": lambda: asyncio.CancelledError(SECRET),
    "GeneratorExit": lambda: GeneratorExit(SECRET),
    "BaseException": lambda: Odd(SECRET),
    "group of exits": lambda: BaseExceptionGroup(SECRET, [SystemExit(SECRET), KeyboardInterrupt()]),
    "RecursionError": lambda: RecursionError(SECRET),
    "MemoryError": lambda: MemoryError(SECRET),
    "StopIteration": lambda: StopIteration(SECRET),
    "StopAsyncIteration": lambda: StopAsyncIteration(SECRET),
    "unprintable": Unprintable,
    "disguised": Disguised,
    "nameless": Nameless,
    "cyclic causes": _cyclic,
}
"""What is raised."""


async def _soon(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


class Spoken(ScriptedAgent):
    """Says a word, then runs a piece of code, then says another."""

    def __init__(self, work: Callable[[], Any]) -> None:
        async def done() -> None:
            result = work()
            if asyncio.iscoroutine(result) or asyncio.isfuture(result):
                await result

        super().__init__(["before ", done, "after"])


def _raise(error: BaseException) -> Any:
    raise error


def in_run_call(error: BaseException) -> Any:
    class Agent_(ScriptedAgent):
        def run(self, *args: Any, **kwargs: Any) -> Any:
            raise error

    return Agent_()


def in_subtask(error: BaseException) -> Any:
    return Spoken(lambda: asyncio.gather(_soon(error), asyncio.sleep(0)))


def in_task_group(error: BaseException) -> Any:
    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(_soon(error))
            group.create_task(asyncio.sleep(0.01))

    return Spoken(grouped)


def in_forgotten_task(error: BaseException) -> Any:
    async def forget() -> None:
        task = asyncio.ensure_future(_soon(error))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.sleep(0.01)

    return Spoken(forget)


def in_callback(error: BaseException) -> Any:
    async def call() -> None:
        asyncio.get_running_loop().call_soon(_raise, error)
        await asyncio.sleep(0.01)

    return Spoken(call)


def in_thread(error: BaseException) -> Any:
    return Spoken(lambda: asyncio.to_thread(_raise, error))


def in_foreign_thread(error: BaseException) -> Any:
    def start() -> None:
        thread = threading.Thread(target=_raise, args=(error,))
        thread.start()
        thread.join()

    return Spoken(start)


def _with_tool(function: Callable[..., Any]) -> Any:
    call = Content.from_function_call("call_1", "act", arguments="{}")
    return Agent(OfflineChatClient(script=[["before ", call], "after"]), tools=[tool(name="act")(function)])


def in_tool(error: BaseException) -> Any:
    def act() -> str:
        raise error

    return _with_tool(act)


def in_async_tool(error: BaseException) -> Any:
    async def act() -> str:
        await _soon(error)
        return "never"

    return _with_tool(act)


def in_executor(error: BaseException) -> Any:
    class Raising(Executor):
        @handler
        async def handle(self, messages: list[Any], context: WorkflowContext[Any, str]) -> None:
            await _soon(error)

    return WorkflowBuilder(name="raising", start_executor=Raising(id="raising")).build()


def in_factory(error: BaseException) -> Any:
    raise error


def in_async_factory(error: BaseException) -> Any:
    return _soon(error)


def in_entering(error: BaseException) -> Any:
    @asynccontextmanager
    async def entered() -> AsyncGenerator[Any]:
        await _soon(error)
        yield ScriptedAgent(["before ", "after"])

    return entered()


def in_leaving(error: BaseException) -> Any:
    @asynccontextmanager
    async def entered() -> AsyncGenerator[Any]:
        yield ScriptedAgent(["before ", "after"])
        await _soon(error)

    return entered()


def in_close(error: BaseException) -> Any:
    agent: Any = ScriptedAgent(["before ", "after"])
    agent.close = lambda: _raise(error)
    return agent


def in_async_close(error: BaseException) -> Any:
    agent: Any = ScriptedAgent(["before ", "after"])
    agent.close = lambda: _soon(error)
    return agent


def in_hook(error: BaseException) -> Any:
    """The hooks raise it, as the request's metadata says where."""
    return ScriptedAgent(["before ", "after"])


Ends = Literal["failed", "completed", "told to the model"]


@dataclass(frozen=True, slots=True)
class Place:
    """A place where the host runs code of its user.

    Attributes:
        agent: Builds the agent that raises an error there.
        ends: What a turn comes to. A tool's errors are told to the model, which goes on; other kinds fail the turn.
        kinds: What is raised there.
    """

    agent: Callable[[BaseException], Any]
    ends: Ends = "failed"
    kinds: Collection[str] = ("sys.exit", "Ctrl+C", "cancellation", "BaseException", "unprintable")


PLACES: Final[dict[str, Place]] = {
    "run": Place(in_run_call),
    "stream": Place(lambda error: ScriptedAgent(["before ", error]), kinds=KINDS),
    "subtask": Place(in_subtask),
    "task group": Place(in_task_group),
    "forgotten task": Place(in_forgotten_task, "completed"),
    "callback": Place(in_callback, "completed"),
    "to_thread": Place(in_thread, kinds=KINDS),
    "thread": Place(in_foreign_thread, "completed"),
    "tool": Place(in_tool, "told to the model", KINDS),
    "async tool": Place(in_async_tool, "told to the model", KINDS),
    "executor": Place(in_executor),
    "factory": Place(in_factory),
    "async factory": Place(in_async_factory),
    "entering": Place(in_entering),
    "leaving": Place(in_leaving, "completed"),
    "close": Place(in_close, "completed"),
    "async close": Place(in_async_close, "completed", KINDS),
    "before_run": Place(in_hook),
    "transform_update": Place(in_hook),
    "on_outcome": Place(in_hook, "completed"),
}
"""Where it is raised."""

ASYNCIO: Final = {
    ("task group", "cancellation"): "completed",
    ("tool", "unprintable"): "failed",
    ("async tool", "unprintable"): "failed",
}
"""Ends that others decide: a task group ignores a task that cancels itself, and Agent Framework fails with an error
that cannot be printed."""


def end_of(place: str, kind: str) -> str:
    """The status of a turn in which something is raised somewhere."""
    ends = PLACES[place].ends
    if ends == "told to the model":
        ends = "completed" if isinstance(KINDS[kind](), Exception) else "failed"
    return ASYNCIO.get((place, kind), ends)


def hooks() -> Hooks:
    """Hooks that raise where the request asks for it."""

    def raising(place: str, request: TurnRequest) -> None:
        if request.metadata.get("place") == place:
            raise KINDS[request.metadata["kind"]]()

    def transform(update: AgentResponseUpdate) -> AgentResponseUpdate:
        from hostedagent import current_turn

        raising("transform_update", current_turn())
        return update

    return Hooks(
        before_run=lambda request: raising("before_run", request),
        transform_update=transform,
        on_outcome=lambda request, _: raising("on_outcome", request),
    )


def agent(request: TurnRequest) -> Any:
    """The agent that raises what the request asks for, where it asks for it."""
    return PLACES[request.metadata["place"]].agent(KINDS[request.metadata["kind"]]())
