"""Fallback routes, served unless the application has its own, and routes that are built on their first request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request


class OnDemand:
    """An application that is built when it is needed."""

    def __init__(self, build: Callable[[], ASGIApp]) -> None:
        self._build = build
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if self._app is None:
            self._app = self._build()
        await self._app(scope, receive, send)


def add_fallbacks(app: Starlette, routes: Sequence[BaseRoute]) -> None:
    """Serve routes after those of the application, including those that it adds later."""
    app.router.default = Router(routes, redirect_slashes=False, default=app.router.default)


def openapi_route(app: Starlette, prefix: str, fallbacks: Sequence[Route]) -> Route:
    """The route of the OpenAPI document.

    Args:
        fallbacks: The other routes that are served where the application has none.
    """

    def build() -> ASGIApp:
        from hostedagent.server.openapi import openapi

        return openapi(app, prefix, [*fallbacks, route])

    route = Route(f"{prefix}/openapi.json", OnDemand(build), methods=["GET"])
    return route


def landing(prefix: str) -> Route:
    """The text at the root of a host without a page."""
    text = (
        f"hostedagent {version('hostedagent')}\n\n"
        f"An agent is served here: POST {prefix}/responses, the Responses API.\n"
        f"All routes: GET {prefix}/openapi.json\n"
    )

    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse(text)

    return Route(f"{prefix}/", answer, methods=["GET"])
