"""Keeps what user code raises from ending the process, or from never being delivered.

asyncio raises both out of the event loop, from whichever task they come, and Agent Framework runs tools and workflow
executors in tasks of its own: one `sys.exit` in a tool would end the turns of every user. Within a request all tasks
are therefore created with a guard that turns them into `ExitInTurn`, an ordinary error of the turn. Signals are not
affected: the servers handle them without raising.

A tool that forks and raises instead of ending its copy of the process would leave a second one, which shares the
connections of the first: such a copy ends at once.

A `StopIteration` in a thread, such as from `next(...)` in a sync tool, is an ordinary error of the turn too.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from contextvars import Context
from typing import Any, Final, TypeAlias, cast

from hostedagent.identity import RequestContext, current_context, enter_context
from hostedagent.observability.logging import log_failure

logger = logging.getLogger(__name__)

Factory: TypeAlias = Callable[..., "asyncio.Future[Any]"]

EXITS: Final = (SystemExit, KeyboardInterrupt)
"""Exceptions that asyncio raises out of the event loop."""


_NOT_AWAITABLE: Final = (*EXITS, GeneratorExit)
"""Exceptions that a guarded task must not end with: awaiting a `GeneratorExit` closes the awaiting coroutine."""

STOPS: Final = (asyncio.CancelledError, GeneratorExit)
"""Exceptions that stop a turn from outside, so that none of its code handles them."""


class ExitInTurn(RuntimeError):
    """Raised in place of an exception that would have ended the process."""


def contain_exits() -> None:
    """Guard every task created from now on in the current context and in copies of it."""
    loop = asyncio.get_running_loop()
    factory = loop.get_task_factory()
    if not isinstance(factory, _ContainingFactory):
        _COPY.ends_here()
        loop.set_task_factory(cast("Any", _ContainingFactory(factory)))
        if loop.get_exception_handler() is None:
            loop.set_exception_handler(_log_unhandled)
        if _loses_stop_iteration(loop):
            loop.set_default_executor(_Threads(thread_name_prefix="asyncio"))
    if current_context() is None:
        enter_context(RequestContext(is_request=False))


class _Copy:
    """Ends a copy of the process that a tool forked, where the tool returns to the turn."""

    def __init__(self) -> None:
        self.is_running = False
        self._is_registered = False

    def ends_here(self) -> None:
        """Regard forks of this process as copies from now on."""
        self.is_running = False
        if not self._is_registered and hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)
            self._is_registered = True

    def end(self, error: BaseException | None = None) -> None:
        """End it without any clean-up, which is for the process to do."""
        code = error.code if isinstance(error, SystemExit) else 1
        os._exit(0 if code is None else code if isinstance(code, int) else 1)

    def _begin(self) -> None:
        self.is_running = True


_COPY: Final = _Copy()


class _ExitsAsErrors(AbstractContextManager[None, None]):
    """Has no state, so that one object serves every block."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, Exception):
            return
        if isinstance(error, asyncio.CancelledError) and is_cancelled():
            return
        raise _contained(error) from error


_EXITS_AS_ERRORS: Final = _ExitsAsErrors()


def exits_as_errors() -> AbstractContextManager[None, None]:
    """Turn any `BaseException` that user code in the block raises into an error.

    A cancellation of the current task from outside passes through; one that the block itself raised does not.

    Raises:
        ExitInTurn: The block raised `SystemExit`, `KeyboardInterrupt` or another `BaseException`.
    """
    return _EXITS_AS_ERRORS


def is_cancelled() -> bool:
    """Whether this task was cancelled, rather than only raising `CancelledError`."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _contained(error: BaseException) -> ExitInTurn:
    if _COPY.is_running:
        _COPY.end(error)
    return ExitInTurn(f"Code that the turn runs raised {type(error).__name__}.")


def _log_unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log the type of an exception from a callback or an unawaited task; asyncio's own handler would log its text."""
    error = context.get("exception")
    if isinstance(error, BaseException) and "socket" not in context:
        log_failure(logger, "A callback or an unawaited task failed", error)
    else:
        loop.default_exception_handler(context)


def _loses_stop_iteration(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether awaiting a thread that raises `StopIteration` never ends, and the application has no threads of its own.

    Can be removed with Python 3.11.7 and 3.12.1, the last that do: https://github.com/python/cpython/issues/112182.
    """
    future: asyncio.Future[None] = loop.create_future()
    try:
        future.set_exception(StopIteration())
    except TypeError:
        return getattr(loop, "_default_executor", None) is None
    future.exception()
    return False


class _Threads(ThreadPoolExecutor):
    """Threads that raise a `RuntimeError` in place of a `StopIteration`, as a coroutine does."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(_without_stop_iteration, fn, *args, **kwargs)


def _without_stop_iteration(call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    try:
        return call(*args, **kwargs)
    except StopIteration as error:
        raise RuntimeError("Code in a thread raised StopIteration.") from error


class _ContainingFactory:
    """Creates tasks as the loop's own factory does, guarded when the context requires it."""

    def __init__(self, inner: Any) -> None:
        self._inner: Factory | None = inner

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, *, context: Context | None = None, **kwargs: Any
    ) -> asyncio.Future[Any]:
        guarded = _Guarded(coroutine) if current_context(context) is not None else coroutine
        if context is not None:
            kwargs["context"] = context
        if self._inner is None:
            return asyncio.Task(cast("Any", guarded), loop=loop, **kwargs)
        return self._inner(loop, guarded, **kwargs)


class _Guarded(Coroutine[Any, Any, Any]):
    """Wraps a coroutine so that it fails where the inner one would exit the process.

    An `async def` wrapper would leave the inner coroutine unawaited when its task is cancelled before it starts.
    """

    def __init__(self, inner: Coroutine[Any, Any, Any] | AsyncGenerator[Any, Any]) -> None:
        self._inner = cast("Any", inner)

    def send(self, value: Any, /) -> Any:
        try:
            return self._inner.send(value)
        except _NOT_AWAITABLE as error:
            raise _contained(error) from error
        finally:
            if _COPY.is_running:
                _COPY.end()

    def throw(self, typ: Any, val: Any = None, tb: Any = None, /) -> Any:
        try:
            return self._inner.throw(typ) if val is None and tb is None else self._inner.throw(typ, val, tb)
        except _NOT_AWAITABLE as error:
            raise _contained(error) from error
        finally:  # The frame would keep what is thrown, and that the frame: garbage that only a collection frees.
            del typ, val, tb

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:
        """Attributes that debuggers and anyio read: `cr_frame`, `cr_running`, the name."""
        return getattr(self._inner, name)
