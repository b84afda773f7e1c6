"""Timeout and retry settings of calls to a service, and work that is tried again until the store answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Final

from hostedagent.stores.base import StoreConflict, StoreUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Timeout and retry settings. A call ends at the latest after `tries` times `timeout` plus the pauses.

    Args:
        timeout: Seconds for one attempt.
        tries: The maximum number of attempts.
        pause: Seconds before the second attempt; doubled for each further one.
    """

    timeout: float = 10.0
    tries: int = 3
    pause: float = 0.2


async def pause_before(attempt: int, policy: RetryPolicy) -> None:
    """Wait before an attempt; the first one, 0, begins at once."""
    if attempt:
        await asyncio.sleep(policy.pause * 2 ** (attempt - 1))


RETRY_SECONDS: Final = 0.5
"""Seconds between two tries."""


class Retries:
    """The work of one host that is tried again."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Callable[[], Awaitable[None]], *, seconds: float) -> None:
        """Try again until it succeeds, or meets a conflict: then somebody else has done it.

        Args:
            seconds: After how long it is given up.
        """
        # In a context of its own, because it outlives the request.
        task = asyncio.get_running_loop().create_task(
            _insist(work, seconds), name="hostedagent-retry", context=Context()
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Stop trying: the process ends, which others detect."""
        for task in self._tasks:
            task.cancel()


async def _insist(work: Callable[[], Awaitable[None]], seconds: float) -> None:
    with suppress(TimeoutError, StoreConflict):
        async with asyncio.timeout(seconds):
            while True:
                await asyncio.sleep(RETRY_SECONDS)
                with suppress(StoreUnavailable):
                    await work()
                    return
