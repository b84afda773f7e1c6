"""Limits on connections, on the time for a request to arrive, and on repeated log lines."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from msgspec import Struct

from hostedagent.stores.recent import Recent

OWN_DESCRIPTORS: Final = 384
"""Descriptors that the process needs itself: for files, the store, the model's service, and refused connections."""

MIN_CONNECTIONS: Final = 16
MAX_DESCRIPTORS: Final = 65_536
"""The soft limit is raised to this, where the hard limit allows it."""

REPEATS: Final = 5
"""Maximum of repetitions of a log line within `REPEAT_SECONDS`."""

REPEAT_SECONDS: Final = 60.0


class ConnectionLimits(Struct, frozen=True):
    """The limits of one server.

    Attributes:
        head_timeout: Seconds for the head of a request.
        body_timeout: Seconds for its body.
        max_connections: The most concurrent connections; `None` for as many as the descriptors allow.
    """

    head_timeout: float = 20.0
    body_timeout: float = 120.0
    max_connections: int | None = None

    def connections(self) -> int:
        """The limit of connections, bounded by the available descriptors."""
        allowed = max(raise_descriptors() - OWN_DESCRIPTORS, MIN_CONNECTIONS)
        return allowed if self.max_connections is None else min(self.max_connections, allowed)


def raise_descriptors() -> int:
    """Raise the limit of open files as far as is allowed and useful; returns the new limit."""
    try:
        import resource
    except ImportError:  # There is no such limit on Windows.
        return MAX_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # macOS has a further, undocumented limit.
        return soft
    return wanted


def descriptor_limit() -> int | None:
    """The limit of open files; `None` if there is none."""
    try:
        import resource
    except ImportError:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


RATE_LIMITED: Final = (
    "asyncio",
    "azure.ai.agentserver",
    "hostedagent.agents.sendable",
    "hostedagent.protocol.transcript.reading",
    "hostedagent.server.agentserver.middleware",
    "hostedagent.server.exchange",
    "hostedagent.server.httptools",
    "hostedagent.stores.foundry.client",
    "hostedagent.stores.foundry.responses",
    "hostedagent.stores.sqlite",
    "uvicorn.error",
)
"""The loggers of what each refused request, odd item and failed call of a store logs."""

_LINES: Final = 256
"""Maximum of different lines counted at the same time."""


@contextmanager
def rate_limited_logs() -> Generator[None]:
    """Limit the repetition of log lines that clients or an unavailable store can cause."""
    limits = [(logging.getLogger(name), RateLimit()) for name in RATE_LIMITED]
    for logger, limit in limits:
        logger.addFilter(limit)
    try:
        yield
    finally:
        for logger, limit in limits:
            logger.removeFilter(limit)


class RateLimit(logging.Filter):
    """Passes a warning or an error a few times a minute and then counts it, so that it cannot fill a disk."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: Recent[str, _Seen] = Recent(_LINES)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is logged; the first one after a pause contains the number of suppressed ones."""
        if record.levelno < logging.WARNING:
            return True
        now, line = time.monotonic(), str(record.msg)
        seen = self._seen.get(line)
        if seen is None or now - seen.since >= REPEAT_SECONDS:
            if seen is not None and (missing := seen.count - REPEATS) > 0:
                record.msg = f"{record.msg} ({missing} lines like this were not logged in the minute before.)"
            self._seen[line] = seen = _Seen(now)
        seen.count += 1
        return seen.count <= REPEATS


class _Seen(Struct):
    since: float
    count: int = 0
