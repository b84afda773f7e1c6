"""`/readiness` reports 503 when a running process cannot serve: its storage or its descriptors are exhausted.

In that state, turns cannot be stored or connections not accepted. A load balancer then sends requests to another
process, and the body says why. The storage is checked by a small write, at most every few seconds, and the response
never waits for a slow one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from starlette.responses import JSONResponse

from hostedagent.observability.logging import log_failure
from hostedagent.server.edge import PROBE
from hostedagent.server.limits import descriptor_limit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger(__name__)

Lack: TypeAlias = Literal["storage", "descriptors"]

FRESH_SECONDS: Final = 5.0
"""Seconds that a successful check of the storage is valid."""

AGAIN_SECONDS: Final = 1.0
"""Seconds that a failed check of the storage is valid."""

PATIENCE_SECONDS: Final = 0.05
"""Seconds that a response waits for a check of the storage; after that it reports the previous result."""

SPARE_DESCRIPTORS: Final = 64
"""With fewer left than this a process is not ready."""


class Readiness:
    """Whether the process can serve.

    Args:
        check: Tries to write to the storage; any exception means that it cannot be written.
    """

    def __init__(self, check: Callable[[], Awaitable[None]], clock: Callable[[], float] = time.monotonic) -> None:
        self._check = check
        self._clock = clock
        self._is_stored = True
        self._next = clock()
        self._looking: asyncio.Task[None] | None = None

    async def lack(self) -> Lack | None:
        """The exhausted resource; `None` if the process is ready."""
        if are_descriptors_used_up():
            return "descriptors"
        if self._looking is None and self._clock() >= self._next:
            self._looking = asyncio.create_task(self._look(), name="hostedagent-readiness")
        if self._looking is not None:
            await asyncio.wait([self._looking], timeout=PATIENCE_SECONDS)
        return None if self._is_stored else "storage"

    async def _look(self) -> None:
        try:
            await self._check()
        except Exception as error:  # noqa: BLE001 - a custom store may raise anything
            if self._is_stored:
                log_failure(logger, "The process is not ready: its storage cannot be written", error)
            self._is_stored = False
        else:
            self._is_stored = True
        finally:
            self._next = self._clock() + (FRESH_SECONDS if self._is_stored else AGAIN_SECONDS)
            self._looking = None


def are_descriptors_used_up() -> bool:
    """Whether nearly all descriptors are in use. The system assigns the lowest free number."""
    limit = descriptor_limit()
    if limit is None:
        return False
    try:
        lowest = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return True
    os.close(lowest)
    return lowest >= limit - min(SPARE_DESCRIPTORS, limit // 8)


class ReadinessMiddleware:
    """Answers `/readiness` with 503 if the process is not ready; otherwise the application answers it."""

    def __init__(self, app: ASGIApp, *, readiness: Readiness) -> None:
        self._app = app
        self._readiness = readiness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        if scope["type"] == "http" and scope["path"] == PROBE and (lack := await self._readiness.lack()) is not None:
            body = {"status": "unavailable", "reason": lack}
            await JSONResponse(body, 503, headers={"retry-after": "1"})(scope, receive, send)
            return
        await self._app(scope, receive, send)
