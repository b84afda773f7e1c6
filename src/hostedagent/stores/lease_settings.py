"""Settings of leases and marks: their lifetime, their renewal, and the liveness of the processes that hold them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from hostedagent.stores.base import Liveness
from hostedagent.stores.heads import Head


class UnknownLiveness:
    """For stores that cannot track processes: the leases of a dead process are valid until they expire."""

    async def name(self) -> str:
        """Always empty."""
        return ""

    async def is_dead(self, name: str) -> bool:
        """Always false."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """The settings of leases.

    Args:
        seconds: Seconds that a lease is valid without a renewal.
        renew_every: Seconds between renewals.
        clock: Seconds since the epoch; processes that share the state must agree on it roughly.
    """

    seconds: float = 60.0
    renew_every: float = 20.0
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    liveness: Liveness = field(default_factory=UnknownLiveness)

    def expiry(self) -> float:
        """When a lease ends that is taken or renewed now."""
        return self.clock() + self.seconds

    def is_due(self, expires_at: float) -> bool:
        """Whether a lease should be renewed before something is stored under it."""
        return expires_at - self.clock() < self.seconds / 2

    async def has_ended(self, process: str, *, since: float) -> bool:
        """Whether a process has ended, or was last heard of more than one lease ago."""
        return since + self.seconds <= self.clock() or await self.liveness.is_dead(process)

    async def is_held(self, head: Head) -> bool:
        """Whether a record names a holder that lives, and whose time is not over."""
        if head.owner is None or head.expires_at <= self.clock():
            return False
        return not await self.liveness.is_dead(head.owner.partition(":")[0])
