"""A route whose application is built on its first request, so that an unused one imports nothing."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send


class OnDemand:
    """An application that is built when it is needed.

    Args:
        build: Builds it; called once.
    """

    def __init__(self, build: Callable[[], ASGIApp]) -> None:
        self._build = build
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if self._app is None:
            self._app = self._build()
        await self._app(scope, receive, send)
