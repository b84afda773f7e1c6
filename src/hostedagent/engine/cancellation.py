"""Stops a turn from outside; the only place that knows the causes.

The caller cancels or disconnects, newer input replaces the turn, the process shuts down, or another turn takes over its
conversation. Drivers report cancellation with `stop`; the shutdown and the loss of the lease are observed here.
"""

from __future__ import annotations

from collections.abc import Callable

from hostedagent.agents.pump import Interrupt
from hostedagent.engine.shutdown import GracefulShutdown
from hostedagent.outcomes import StopCause
from hostedagent.stores.leases import Lease


class StopSignals:
    """Stops one turn. The first cause counts, except that losing the conversation overrides every other.

    Concurrency: used on the turn's event loop. Always call `close` at the end.

    Args:
        lease: The turn's lease on its conversation, which another turn may take over.
    """

    def __init__(self, shutdown: GracefulShutdown, lease: Lease | None = None) -> None:
        self._shutdown = shutdown
        self._lease = lease
        self._cause: StopCause | None = None
        self._interrupt: Interrupt | None = None
        self._then: Callable[[], None] | None = None

    def stop(self, cause: StopCause) -> None:
        """Stop the turn, even if it has not started to run."""
        if self._cause is None:
            # During shutdown, the SDK reports it as newer input.
            self._cause = "shutdown" if cause == "steered" and self._shutdown.has_begun else cause
        self._act()

    def watch(self, interrupt: Interrupt, then: Callable[[], None]) -> None:
        """Connect the signals to the running turn."""
        self._interrupt, self._then = interrupt, then
        if self._lease is not None:
            self._lease.on_change.add(self._when_lost)
            self._when_lost()
        self._shutdown.call_when_over(self._at_deadline)
        if self._cause is not None:
            self._act()

    def close(self) -> None:
        """Disconnect the signals."""
        self._interrupt = None
        self._shutdown.forget(self._at_deadline)
        if self._lease is not None:
            self._lease.on_change.discard(self._when_lost)

    def _at_deadline(self) -> None:
        self.stop("shutdown")

    def _when_lost(self) -> None:
        if self._lease is not None and self._lease.state == "lost":
            self.stop("lost")

    def _act(self) -> None:
        if self._interrupt is None or self._then is None or self._cause is None:
            return
        if self._lease is not None:
            self._lease.enter("ending")
        self._interrupt("lost" if self._lease is not None and self._lease.state == "lost" else self._cause)
        self._then()
