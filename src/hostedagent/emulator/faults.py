"""Faults on demand: which requests fail, and how.

From the moment it is added, a fault counts the requests that match its route and user, including retries of the client,
and applies to those from number `at` on. If several match, the first one added applies. Only a `slow` fault waits for
time to pass: a hanging request is released by the test.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

from .routes import ROUTES

FaultKind: TypeAlias = Literal["status", "reset", "hang", "lose_answer", "slow", "garbage", "leak"]

_APPLIED_BY_DEFAULT: frozenset[FaultKind] = frozenset({"lose_answer", "garbage"})

LEAKED_SECRETS = ("principal-oid-6b7c", "tenant-41f0", "AccountKey=c2VjcmV0", "10.0.0.17")
"""Content of the body of a `leak`, none of which may reach the client of an agent."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fault:
    """One fault.

    Attributes:
        route: The route, such as `responses.create`; `*` matches any characters, as in `items.*`.
        kind: The failure. `status`: an error response. `reset`: the connection is dropped without a response. `hang`:
            no response until `release()`, then the request is served normally. `lose_answer`: the change is made, then
            the connection is dropped. `slow`: served after `latency` seconds. `garbage`: a response with status 200
            that is not JSON. `leak`: an error response that contains `LEAKED_SECRETS`.
        at: The number of the first matching request it applies to, from 1.
        times: The number of requests it applies to; `None` for all that follow.
        user: Only requests of this user match and count.
        status: The status of a `status` or `leak`.
        code: The code in the body of a `status`.
        message: The message in the body of a `status`.
        retry_after: The `Retry-After` of a `status`, in seconds.
        latency: The delay of a `slow`, in seconds.
        applied: Whether the change is made although the client gets an error. By default only for `lose_answer` and
            `garbage`; a `status` of 504 or a `hang` with `applied=True` is a service that finished too late.
        reached: Set when the fault applies to a request, so that a test can wait for it instead of sleeping.
    """

    route: str
    kind: FaultKind
    at: int = 1
    times: int | None = 1
    user: str | None = None
    status: int = 503
    code: str = "service_unavailable"
    message: str = "The service cannot answer now."
    retry_after: float | None = None
    latency: float = 0.0
    applied: bool | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        if self.at < 1 or (self.times is not None and self.times < 1):
            raise ValueError(f"at and times count from 1: at={self.at!r}, times={self.times!r}")
        if not any(fnmatchcase(route.name, self.route) for route in ROUTES):
            raise ValueError(f"no route matches {self.route!r}; there are {', '.join(r.name for r in ROUTES)}")

    @property
    def is_applied(self) -> bool:
        """Whether the request has its effect."""
        return self.kind in _APPLIED_BY_DEFAULT if self.applied is None else self.applied

    def release(self) -> None:
        """Release hanging requests."""
        self.released.set()

    def matches(self, route: str, user: str | None) -> bool:
        """Whether a request counts for this fault."""
        return fnmatchcase(route, self.route) and self.user in (None, user)


@dataclass(slots=True)
class _Armed:
    fault: Fault
    seen: int = 0
    met: int = 0

    @property
    def is_spent(self) -> bool:
        return self.fault.times is not None and self.met >= self.fault.times

    def meets_next(self) -> bool:
        self.seen += 1
        return self.seen >= self.fault.at and not self.is_spent


class Faults:
    """The faults of one emulator."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []

    @property
    def unmet(self) -> list[Fault]:
        """Faults that have not applied to any request yet; a test asserts that none is left."""
        return [armed.fault for armed in self._armed if not armed.met]

    def add(self, fault: Fault) -> Fault:
        """Arm a fault and return it, to wait on."""
        self._armed.append(_Armed(fault))
        return fault

    def clear(self) -> None:
        """Release hanging requests and disarm all faults."""
        for armed in self._armed:
            armed.fault.release()
        self._armed.clear()

    def take(self, route: str, user: str | None) -> Fault | None:
        """Count a request and return the fault that applies to it."""
        matching = [armed for armed in self._armed if armed.fault.matches(route, user)]
        # Every fault counts every request, so that `at` means the same whatever else is armed.
        due = [armed for armed in matching if armed.meets_next()]
        if not due:
            return None
        due[0].met += 1
        due[0].fault.reached.set()
        return due[0].fault
