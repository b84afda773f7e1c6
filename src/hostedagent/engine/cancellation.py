"""What stops a turn from outside: the caller goes, a newer input comes, the process ends, another turn takes over.

One task for each thing that can only be waited for, for the whole turn, whatever part of it runs meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from hostedagent.agents.pump import Interrupt
from hostedagent.engine.shutdown import Drain
from hostedagent.outcomes import StopCause
from hostedagent.stores.leases import Lease

if TYPE_CHECKING:
    from azure.ai.agentserver.responses import ResponseContext


class Watch:
    """Interrupts what a turn is doing.

    Concurrency: used by one turn, on its loop. Call `close` in every ending.

    Args:
        context: Says whether the caller cancelled.
        signal: Set when the SDK wants the turn to end.
        lease: The hold on the conversation, which another turn may take.
        drain: The end of the process.
        interrupt: Stops what the turn does.
        told: Called after it.
    """

    def __init__(
        self,
        context: ResponseContext,
        signal: asyncio.Event,
        lease: Lease | None,
        drain: Drain,
        interrupt: Interrupt,
        told: Callable[[], None],
    ) -> None:
        self._context = context
        self._lease = lease
        self._drain = drain
        self._interrupt = interrupt
        self._told = told
        self._tasks = [asyncio.create_task(self._signalled(signal), name="hostedagent-watch")]
        if lease is not None:
            self._tasks.append(asyncio.create_task(self._lost(lease), name="hostedagent-watch"))
        drain.call_when_over(self._stop)

    def close(self) -> None:
        """Watch no longer."""
        self._drain.forget(self._stop)
        for task in self._tasks:
            task.cancel()

    async def _signalled(self, signal: asyncio.Event) -> None:
        await signal.wait()
        context = self._context
        if context.shutdown.is_set() and not context.client_cancelled:
            await self._drain.over.wait()  # The SDK signals the end of the process at its beginning.
        self._stop()

    async def _lost(self, lease: Lease) -> None:
        await lease.lost.wait()
        self._stop()

    def _stop(self) -> None:
        if self._lease is not None:
            self._lease.is_ending = True
        self._interrupt(self._reason())
        self._told()

    def _reason(self) -> StopCause:
        if self._lease is not None and self._lease.lost.is_set():
            return "lost"
        if self._context.client_cancelled:
            return "client"
        return "shutdown" if self._drain.has_begun else "steered"
