"""A loop whose clock moves only while nothing happens: a limit is met by what hangs, never by a busy machine.

Where nothing is left to do but to wait for a timer, the clock jumps to it. So tests give the limits of production, and
take no time. For tests that wait for nothing outside of their process.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec

P = ParamSpec("P")

GLANCE: Final = 0.005
"""Seconds in which everything comes that is on its way within a process."""


class _Selector(selectors.DefaultSelector):
    """Lets the clock of its loop jump to the next timer where nothing comes before."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        events = super().select(GLANCE)
        if not events and not self.loop.is_working:
            self.loop.jump(timeout)
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop with a clock of its own."""

    def __init__(self) -> None:
        self._now = 0.0
        self._working = 0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    @property
    def is_working(self) -> bool:
        """Whether a thread works: the clock stands until it is ready."""
        return self._working > 0

    def time(self) -> float:
        """The time of this loop, in seconds."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Let time pass at once."""
        self._now += seconds

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """Run a function in a thread."""
        self._working += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._worked)
        return future

    def _worked(self, _: object) -> None:
        self._working -= 1


def virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on such a loop. Its fixtures are not asynchronous: they would live on another loop."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run
