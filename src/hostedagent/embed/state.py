"""State that the routes of an application share: the agent or workflow, and the sessions of its conversations."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, Protocol, TypedDict, TypeVar, cast, runtime_checkable
from weakref import WeakValueDictionary

from agent_framework import AgentRunInputs, AgentSession, SessionStore, SupportsAgentRun, Workflow

__all__ = ["AgentRunArgs", "AgentState", "SessionStore", "SupportsBuild", "WorkflowRunArgs", "WorkflowState"]

T = TypeVar("T")
AgentT = TypeVar("AgentT", bound=SupportsAgentRun)
WorkflowT = TypeVar("WorkflowT", bound=Workflow)


class AgentRunArgs(TypedDict):
    """Arguments for `Agent.run`."""

    messages: AgentRunInputs
    options: dict[str, Any]
    stream: bool


class WorkflowRunArgs(TypedDict):
    """Arguments for `Workflow.run`."""

    message: Any | None
    responses: Mapping[str, Any] | None
    stream: bool


@runtime_checkable
class SupportsBuild(Protocol):
    """A builder of workflows."""

    def build(self) -> Workflow:
        """Build a workflow."""
        ...


class _Target(Generic[T]):
    """Resolves a target from a value, a sync or async function, or an awaitable.

    Concurrency: concurrent callers get the same target.
    """

    def __init__(self, source: T | Awaitable[T] | Callable[[], T | Awaitable[T]], *, caches: bool) -> None:
        if not caches and inspect.isawaitable(source):
            raise ValueError("cache_target=False needs a target or a function: an awaitable can be awaited only once.")
        self._source = source
        self._caches = caches
        self._lock = asyncio.Lock()
        self._is_resolved = not callable(source) and not inspect.isawaitable(source)
        self._value = cast("T", source) if self._is_resolved else None

    @property
    def now(self) -> T:
        if not self._is_resolved:
            raise RuntimeError("The target is not resolved yet: use `await state.get_target()`.")
        return cast("T", self._value)

    async def get(self) -> T:
        """The target, resolved on first use."""
        if self._is_resolved:
            return cast("T", self._value)
        if not self._caches:
            return await self._resolve()
        async with self._lock:
            if not self._is_resolved:
                self._value = await self._resolve()
                self._is_resolved = True
        return cast("T", self._value)

    async def _resolve(self) -> T:
        found = self._source() if callable(self._source) else self._source
        return cast("T", await found) if inspect.isawaitable(found) else cast("T", found)


class _State(Generic[T]):
    _target: _Target[T]

    async def get_target(self) -> T:
        """The agent or workflow, created on first use."""
        return await self._target.get()

    @property
    def target(self) -> T:
        """The agent or workflow.

        Raises:
            RuntimeError: It has not been created; use `get_target`.
        """
        return self._target.now


class AgentState(_State[AgentT]):
    """An agent and its sessions, shared by the routes of an application.

    Concurrency: a session that several callers request concurrently is created once.

    Args:
        target: The agent; or a function, sync or async, that creates it; or an awaitable of it.
        session_store: The store of sessions; by default in memory.
        cache_target: Whether a created agent is kept. `False` creates one for each call of `get_target`.

    Raises:
        ValueError: `cache_target` is `False` for an awaitable.
    """

    def __init__(
        self,
        target: AgentT | Awaitable[AgentT] | Callable[[], AgentT | Awaitable[AgentT]],
        *,
        session_store: SessionStore | None = None,
        cache_target: bool = True,
    ) -> None:
        self._target = _Target[AgentT](target, caches=cache_target)
        self._sessions = session_store if session_store is not None else SessionStore()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def session_store(self) -> SessionStore:
        """The store of sessions."""
        return self._sessions

    async def get_or_create_session(self, session_id: str) -> AgentSession:
        """An independent copy of a session, which is created and stored on first use.

        Args:
            session_id: The application's own id of the conversation.

        Raises:
            ValueError: The id is empty.
        """
        _check_id(session_id)
        lock = self._locks.setdefault(session_id, asyncio.Lock())
        async with lock:
            if (found := await self._sessions.get(session_id)) is not None:
                return found
            session = (await self.get_target()).create_session(session_id=session_id)
            await self._sessions.set(session_id, session)
            return copy.deepcopy(session)

    async def set_session(self, session_id: str, session: AgentSession) -> None:
        """Store a session under an id.

        Raises:
            ValueError: The id is empty.
        """
        _check_id(session_id)
        await self._sessions.set(session_id, session)


class WorkflowState(_State[WorkflowT]):
    """A workflow, shared by the routes of an application.

    Args:
        target: The workflow; a builder of it; a function, sync or async, that creates it; or an awaitable of it.
        cache_target: Whether a created workflow is kept. `False` creates one for each call of `get_target`.

    Raises:
        ValueError: `cache_target` is `False` for an awaitable.
    """

    def __init__(
        self,
        target: WorkflowT | SupportsBuild | Awaitable[WorkflowT] | Callable[[], WorkflowT | Awaitable[WorkflowT]],
        *,
        cache_target: bool = True,
    ) -> None:
        source = target.build if isinstance(target, SupportsBuild) else target
        self._target = _Target[WorkflowT](cast("WorkflowT", source), caches=cache_target)


def _check_id(session_id: str) -> None:
    if not session_id:
        raise ValueError("session_id is empty: pass the id of the conversation or of the response.")
