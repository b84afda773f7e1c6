"""Memory snapshots: what a host closes before the platform captures its process, and opens in each restored copy.

Foundry can start the sandboxes of an agent version from one capture of its initialized process. Every copy begins with
the same memory: connections that end elsewhere, tokens that may have expired, one state of `random`, one name among
the replicas. So the stores are closed before the capture, and each copy opens them anew.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from contextvars import Context
from typing import TYPE_CHECKING

from msgspec import Struct

from hostedagent.agents.exits import exits_as_errors
from hostedagent.errors import HostError
from hostedagent.observability.logging import log_failure

if TYPE_CHECKING:
    from hostedagent.engine.hooks import Hooks, RestoredSession
    from hostedagent.engine.recorded import RecordedResponses
    from hostedagent.engine.wiring import Wired

logger = logging.getLogger(__name__)


class SnapshotError(HostError):
    """The process cannot be captured now, or cannot serve as it was restored."""


class Suspension(Struct):
    """Suspends one host: nothing of it holds a connection until it is resumed.

    Args:
        responses: The engine's responses, which listen to other processes, if the driver opens them.
    """

    wired: Wired
    responses: RecordedResponses | None
    is_suspended: bool = False

    async def suspend(self) -> None:
        """Leave the other processes and close the stores.

        Raises:
            SnapshotError: A turn runs, and every copy would continue it.
        """
        if self.wired.engine.active.running():
            raise SnapshotError("The process cannot be captured while a turn runs.")
        self.is_suspended = True
        if self.responses is not None:
            await self.responses.aclose()
        if self.wired.deliveries is not None:
            await self.wired.deliveries.aclose()
        await self.wired.stores.aclose()

    async def resume(self) -> None:
        """Open the stores, and join the other processes under a new name. Does nothing where it is not suspended.

        Raises:
            ConfigurationError: The stores cannot be used as they are configured.
        """
        if not self.is_suspended:
            return
        # In a context of its own: what it starts outlives the platform's request.
        await asyncio.create_task(self._open(), name="hostedagent-resume", context=Context())
        self.is_suspended = False

    async def check(self) -> None:
        """See that the stores can be written. A suspended host is not looked at: that would open them."""
        if not self.is_suspended:
            await self.wired.stores.check()

    async def _open(self) -> None:
        await self.wired.aopen()
        if self.responses is not None:
            await self.responses.open()


class Snapshots(Struct, frozen=True):
    """Prepares a process for its capture, and continues in a restored copy of it."""

    hooks: Hooks
    hosts: Sequence[Suspension]

    async def before(self) -> None:
        """Call `before_snapshot`, then close the stores. A process that cannot be captured continues to serve.

        Raises:
            SnapshotError: It cannot be captured now.
        """
        try:
            if self.hooks.before_snapshot is not None:
                with exits_as_errors():
                    await self.hooks.before_snapshot()
            for host in self.hosts:
                await host.suspend()
        except Exception as error:  # noqa: BLE001 - the hook may raise anything
            for host in self.hosts:
                await host.resume()
            raise _failed("The process cannot be captured", error) from None

    async def after(self, session: RestoredSession) -> None:
        """Open the stores, then call `after_restore`. May be called again after it failed.

        Raises:
            SnapshotError: The copy cannot serve.
        """
        random.seed()  # The pauses between retries must not be the same in every copy.
        try:
            for host in self.hosts:
                await host.resume()
            if self.hooks.after_restore is not None:
                with exits_as_errors():
                    await self.hooks.after_restore(session)
        except Exception as error:  # noqa: BLE001 - the hook may raise anything
            raise _failed("The restored process cannot serve", error) from None


def _failed(what: str, error: Exception) -> SnapshotError:
    if isinstance(error, SnapshotError):
        return error
    log_failure(logger, what, error)
    return SnapshotError(f"{what}.")
