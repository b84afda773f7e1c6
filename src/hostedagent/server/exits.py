"""The ASGI side of `agents.exits`: a request that would end the process fails instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostedagent.agents.exits import contain_exits, exits_as_errors

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class ExitMiddleware:
    """Contains exits raised in requests, and in turns that the lifespan resumes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, connection or lifespan."""
        contain_exits()
        if scope["type"] == "lifespan":  # An application that exits during startup fails to start.
            await self._app(scope, receive, send)
            return
        with exits_as_errors():
            await self._app(scope, receive, send)
