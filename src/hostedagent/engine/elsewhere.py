"""Stops turns that run in another process: a signal reaches every process, and the store shows the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from hostedagent.engine.active import ActiveTurns
from hostedagent.identity import Caller
from hostedagent.observability.logging import log_failure
from hostedagent.stores.base import Signal, Signals

LOOK_SECONDS: Final = 0.05
LOOKS: Final = 10
"""Reads of the store before the signal is sent again, because another process may have taken over the turn."""

RETRY_SECONDS: Final = 1.0

logger = logging.getLogger(__name__)


class Elsewhere(Struct):
    """Stops turns of other processes, and turns of this process on their request.

    Args:
        on_queued: Called when a turn waits for a process with a free slot.
        on_steer: Called with the caller of a turn that runs here, and where the new input for it is.
    """

    signals: Signals
    active: ActiveTurns
    on_queued: Callable[[], None] | None = None
    on_steer: Callable[[Caller, str], None] | None = None
    _listening: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start listening to the other processes."""
        self._listening = asyncio.create_task(self._listen(), name="hostedagent-signals")

    async def aclose(self) -> None:
        """Stop listening."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait((self._listening,))

    async def cancel(self, caller: Caller, response_id: str, has_ended: Callable[[], Awaitable[bool]]) -> None:
        """Cancel a turn of another process, and wait until it has ended.

        Raises:
            StoreError: The signal could not be sent, or the store is not available.
        """
        while True:
            await self.signals.publish(Signal("cancel", caller.scope.key(), response_id))
            for _ in range(LOOKS):
                if await has_ended():
                    return
                await asyncio.sleep(LOOK_SECONDS)

    async def _listen(self) -> None:
        while True:
            try:
                async for signal in self.signals.receive():
                    self._take(signal)
            except Exception as error:  # noqa: BLE001 - otherwise this would end the listening for good
                log_failure(logger, "Signals of other processes cannot be received now", error)
            await asyncio.sleep(RETRY_SECONDS)

    def _take(self, signal: Signal) -> None:
        if signal.kind == "queued" and self.on_queued is not None:
            self.on_queued()
        turn = self.active.get(signal.subject)
        if turn is None or turn.stop is None or turn.caller.scope.key() != signal.scope:
            return
        if signal.kind == "cancel":
            turn.stop.stop("client")
        elif signal.kind == "steer" and self.on_steer is not None:
            self.on_steer(turn.caller, signal.value)
