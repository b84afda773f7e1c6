"""One owner task pulls the agent's stream; the turn takes what has arrived, in batches.

An Agent Framework stream must be pulled by one task from first to last, and is stopped by cancelling that task; the
SDK pulls a handler from several. The read-ahead is bounded: an agent that never waits cannot starve the loop, because
both sides wait for each other every few updates.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import suppress
from typing import Final, Generic, Self, TypeAlias, TypeVar

from hostedagent.agents.exits import ExitInTurn, exits_as_errors
from hostedagent.observability.logging import log_failure
from hostedagent.outcomes import StopCause

logger = logging.getLogger(__name__)

T = TypeVar("T")

Start: TypeAlias = Callable[[], Awaitable[AsyncIterable[T]]]

Work: TypeAlias = Callable[[], Awaitable[None]]

Interrupt: TypeAlias = Callable[[StopCause], None]

READ_AHEAD: Final = 8
"""Updates pulled, at most, before the turn must take them. Short steps at first: others may wait for their first."""

STOP_SECONDS: Final = 5.0
"""How long a cancelled run may take to wind up before it is left alone."""


class Stopped(Exception):
    """The run was stopped from outside."""

    def __init__(self, cause: StopCause) -> None:
        super().__init__(cause)
        self.cause: StopCause = cause


class Silent(Exception):
    """The run said nothing new for as long as it may."""


class Pump(Generic[T]):
    """Pulls a stream in a task of its own.

    Concurrency: `batch` has one consumer; `interrupt` may be called from anywhere on the loop.
    Cancellation: cancelling `batch` leaves the task running; leaving the block, or `stop`, ends it.

    Args:
        start: Makes the stream, inside the task and in a copy of the current context, so that everything the run does
            sees one context.
        ends_at: Whether a value is the last one, after which the stream is not pulled again.
        through: Makes the stream that is pulled of the run's own.
        instead: What the run says in place of an error that is no failure; `None` for an error that is one.
        first: Values pulled before the first must be taken: one, where somebody waits for it. Then twice as many each
            time, up to `READ_AHEAD`.

    Attributes:
        is_stopped: Whether the run was told to end.
        then: What must be done when a value has been dealt with, before the run goes on.
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
        self._start = start
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
        self._task = asyncio.create_task(self._pull(), name="hostedagent-run")

    async def _pull(self) -> None:
        try:
            stream = await self._start()
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
        except asyncio.CancelledError:  # A stream that nobody pulls does not learn of it.
            await close_stream(stream)
            raise

    def _take_error(self, error: BaseException) -> None:
        self._error = error  # It stands until there is a value instead: looking at an error may raise.
        if self._instead is not None and isinstance(error, Exception):
            with exits_as_errors():
                value = self._instead(error)
            if value is not None:
                self._error = None
                self._buffer.append(value)

    async def batch(self, patience: float | None = None) -> list[T] | None:
        """What has arrived; nothing when the run is held; `None` when the stream has ended.

        Args:
            patience: Seconds to wait for something once there is a stream; `None` for no limit.

        Raises:
            Stopped: `interrupt` was called; `rest` has what had arrived before.
            Silent: Nothing arrived for `patience` seconds.
            Exception: The run's own error, after everything before it was taken.
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
        """What had arrived and was not taken."""
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
        """Hold the run until everything that it said so far was dealt with, and `work` is done. Called by the run."""
        self._work = work
        self._worked.clear()
        self._arrived.set()
        await self._worked.wait()

    @property
    def is_held(self) -> bool:
        """Whether the run waits for `let_go`, and everything that it said was taken."""
        return self._work is not None and not self._buffer

    async def let_go(self) -> None:
        """Do what the run is held for, and let it go on."""
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
        if not self.is_stopped:  # Once: a second time would cut what the run does to wind up.
            self.is_stopped = True
            self._task.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Cancel the run if it has not ended, and wait until it has wound up, for a bounded time."""
        if self._task.done():
            return
        self._cancel()
        _, pending = await asyncio.wait({self._task}, timeout=STOP_SECONDS)
        if pending:
            self._task.cancel()
            logger.error("A cancelled run did not end within %.0f s and was left alone.", STOP_SECONDS)


async def close_stream(stream: object) -> None:
    """Close a stream before its end: Agent Framework's have `close`, generators `aclose`.

    What closing raises is logged and hides nothing: neither why the stream is closed, nor how the run ended.
    """
    try:
        close = getattr(stream, "close", None) or getattr(stream, "aclose", None)
        if close is not None:
            with exits_as_errors():
                await close()
    except Exception as error:  # noqa: BLE001 - the run has ended, and stays as it ended
        log_failure(logger, "Closing the stream of a run failed", error)
