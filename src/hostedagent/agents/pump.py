"""Pulls the agent's stream in a task of its own; the turn takes the updates in batches.

An Agent Framework stream must be consumed by a single task and is stopped by cancelling it, while the SDK consumes a
handler from several tasks. The read-ahead is bounded, so an agent that never awaits cannot starve the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import suppress
from typing import Final, Generic, Self, TypeAlias, TypeVar

from hostedagent.agents.exits import ExitInTurn, exits_as_errors
from hostedagent.observability.logging import log_failure, never_raising
from hostedagent.outcomes import StopCause

logger = logging.getLogger(__name__)

T = TypeVar("T")

Start: TypeAlias = Callable[[], Awaitable[AsyncIterable[T]]]

Work: TypeAlias = Callable[[], Awaitable[None]]

Interrupt: TypeAlias = Callable[[StopCause], None]

READ_AHEAD: Final = 8
"""Maximum of updates pulled ahead of the turn. The first batches are smaller, so that concurrent turns start soon."""

STOP_SECONDS: Final = 5.0
"""Seconds that a cancelled run may take to clean up before it is abandoned."""


class Stopped(Exception):
    """Raised when the run was stopped from outside."""

    def __init__(self, cause: StopCause) -> None:
        super().__init__(cause)
        self.cause: StopCause = cause


class Silent(Exception):
    """Raised when the run produced no update within the timeout."""


class Pump(Generic[T]):
    """Pulls a stream in a task of its own.

    Concurrency: `batch` has one consumer; `interrupt` may be called from anywhere on the loop.
    Cancellation: cancelling `batch` leaves the task running; leaving the block, or `stop`, ends it.

    Args:
        start: Creates the stream, inside the task and in a copy of the current context, so that the whole run sees
            one context.
        ends_at: Whether a value is the last one, after which the stream is not pulled again.
        through: Wraps the run's stream.
        instead: The value that replaces an error that is not a failure; `None` for a failure.
        first: Size of the first batch: one if a client waits for the first value. Doubles with each batch, up to
            `READ_AHEAD`.

    Attributes:
        is_stopped: Whether the run was asked to stop.
        then: Work to do once a value has been processed, before the run continues.
    """

    def __init__(
        self,
        start: Start[T],
        *,
        ends_at: Callable[[T], bool] | None = None,
        through: Callable[[AsyncIterable[T]], AsyncIterable[T]] | None = None,
        instead: Callable[[Exception], T | None] | None = None,
        first: int = 1,
    ) -> None:
        self._ends_at = ends_at
        self._through = through
        self._instead = instead
        self._ahead = first
        self._buffer: list[T] = []
        self._has_stream = asyncio.Event()
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._ended = False
        self._error: BaseException | None = None
        self._cause: StopCause | None = None
        self.is_stopped = False
        self.then: Callable[[T], Work | None] | None = None
        self._work: Work | None = None
        self._worked = asyncio.Event()
        self._task = asyncio.create_task(self._pull(start), name="hostedagent-run")

    async def _pull(self, start: Start[T]) -> None:
        try:
            stream = await start()
            self._has_stream.set()
            if self._through is not None:
                stream = self._through(stream)
            async for value in stream:
                self._buffer.append(value)
                self._arrived.set()
                if self.then is not None and (work := self.then(value)) is not None:
                    await self.settled(work)
                if self._ends_at is not None and self._ends_at(value):
                    await close_stream(stream)
                    break
                if len(self._buffer) >= self._ahead:
                    self._ahead = min(2 * self._ahead, READ_AHEAD)
                    await self._until_taken(stream)
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, which is another task
            with suppress(Exception):
                self._take_error(error)
        finally:
            self._ended = True
            self._has_stream.set()
            self._arrived.set()

    async def _until_taken(self, stream: AsyncIterable[T]) -> None:
        self._taken.clear()
        try:
            await self._taken.wait()
        except asyncio.CancelledError:  # A stream that is not being pulled cannot notice it.
            await close_stream(stream)
            raise

    def _take_error(self, error: BaseException) -> None:
        self._error = error  # Kept until there is a value to replace it: inspecting an error may raise.
        if self._instead is not None and isinstance(error, Exception):
            with exits_as_errors():
                value = self._instead(error)
            if value is not None:
                self._error = None
                self._buffer.append(value)

    async def batch(self, patience: float | None = None) -> list[T] | None:
        """Return the values that have arrived: an empty list while the run is blocked, `None` at the end of the stream.

        Args:
            patience: Seconds to wait for a value once there is a stream; `None` for no limit.

        Raises:
            Stopped: `interrupt` was called; `rest` has the values that arrived before.
            Silent: No value arrived within `patience` seconds.
            Exception: The run's own error, after all earlier values were taken.
        """
        while True:
            if self._cause is not None:
                raise Stopped(self._cause)
            if self._buffer:
                self._arrived.clear()
                return self.rest()
            if self._work is not None:
                return []
            if self._ended:
                return self._end()
            self._arrived.clear()
            self._taken.set()
            if patience is None:
                await self._arrived.wait()
            else:
                await self._has_stream.wait()
                await self._wait(patience)

    async def _wait(self, patience: float) -> None:
        try:
            async with asyncio.timeout(patience):
                await self._arrived.wait()
        except TimeoutError:
            raise Silent from None

    def rest(self) -> list[T]:
        """The values that have arrived and were not taken."""
        rest, self._buffer = self._buffer, []
        return rest

    def _end(self) -> None:
        error, self._error = self._error, None
        if error is None:
            return
        if isinstance(error, Exception):
            raise error
        # Raised here, a cancellation would stop the turn itself, and an exit the process with all other turns.
        raise ExitInTurn("The agent's run cancelled itself, or would have ended the process.") from error

    async def settled(self, work: Work) -> None:
        """Block the run until all its values so far are processed and `work` has finished. Called by the run."""
        self._work = work
        self._worked.clear()
        self._arrived.set()
        await self._worked.wait()

    @property
    def is_held(self) -> bool:
        """Whether the run waits for `let_go` and all its values were taken."""
        return self._work is not None and not self._buffer

    async def let_go(self) -> None:
        """Do the work that the run is blocked on, then let it continue."""
        work, self._work = self._work, None
        if work is not None:
            await work()
        self._worked.set()

    def interrupt(self, cause: StopCause) -> None:
        """Stop the run and wake the consumer; the first cause counts."""
        if self._cause is None:
            self._cause = cause
            self._cancel()
            self._has_stream.set()
            self._arrived.set()

    def _cancel(self) -> None:
        if not self.is_stopped:  # Once only: a second cancellation would interrupt the run's own clean-up.
            self.is_stopped = True
            self._task.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Cancel the run if it has not ended, and wait for its clean-up for a bounded time."""
        if self._task.done():
            return
        self._cancel()
        _, pending = await asyncio.wait({self._task}, timeout=STOP_SECONDS)
        if pending:
            self._task.cancel()
            with never_raising():
                logger.error("A cancelled run did not end within %.0f s and was left alone.", STOP_SECONDS)


async def close_stream(stream: object) -> None:
    """Close a stream before its end: Agent Framework's have `close`, generators `aclose`.

    An error of closing is logged and never replaces the reason for closing or the outcome of the run.
    """
    try:
        close = getattr(stream, "close", None) or getattr(stream, "aclose", None)
        if close is not None:
            with exits_as_errors():
                await close()
    except Exception as error:  # noqa: BLE001 - the run has ended, and stays as it ended
        log_failure(logger, "Closing the stream of a run failed", error)
