"""The local page: a chat with the agent, with everything that goes over the wire.

Static files without a build step and without anything from the network. The page speaks only the public Responses
protocol of the host that serves it; its own routes only describe the host and the spans of a turn. A hosted process
never serves it.
"""

from __future__ import annotations

import gzip
import hmac
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

_MEDIA: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

HEADERS: Final = {
    # Nothing is loaded from elsewhere, and no inline script or style runs, whatever a model writes.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}

_COOKIE: Final = "hostedagent_page"


@cache
def assets() -> Mapping[str, bytes]:
    """The files of the page by their path below `static`."""
    found: dict[str, bytes] = {}
    folder = files(__name__).joinpath("static")
    for entry in folder.iterdir():
        if entry.is_file():
            found[entry.name] = entry.read_bytes()
    for entry in folder.joinpath("vendor").iterdir():
        found[f"vendor/{entry.name}"] = entry.read_bytes()
    return found


def add_page(
    app: Starlette,
    settings: Mapping[str, Any],
    *,
    prefix: str = "",
    token: str | None = None,
    spans_of: Callable[[str], list[dict[str, Any]]] | None = None,
) -> None:
    """Serves the page at `/` of an application.

    Args:
        app: The application. A route that it has at `/` already is kept, and the page is not served.
        settings: The settings of the host that the page shows, as JSON: `agent`, `model`, `store`, `version`, `root`,
            `options`, `workflow`, `keeps_approvals`, and `agents`: each `name` and `root` to choose from.
        token: Required to open the page, as `?token=...`; `None` for a host that only this machine reaches.
        spans_of: Returns the spans of a response's turn (`traces.TraceRecorder`); `None` when spans are not recorded.
    """

    async def index(request: Request) -> Response:
        if token is not None and _matches(request.query_params.get("token"), token):
            answer = RedirectResponse(request.url.path, status_code=303)
            answer.set_cookie(_COOKIE, token, httponly=True, samesite="strict")
            return answer
        return _allowed(request) or _file(request, "index.html")

    async def asset(request: Request) -> Response:
        return _allowed(request) or _file(request, request.path_params["name"])

    async def describe(request: Request) -> Response:
        return _allowed(request) or JSONResponse(dict(settings), headers=HEADERS)

    async def traces(request: Request) -> Response:
        spans = spans_of(request.path_params["response_id"]) if spans_of is not None else []
        return _allowed(request) or JSONResponse({"spans": spans}, headers=HEADERS)

    def _allowed(request: Request) -> Response | None:
        if token is None or _matches(request.cookies.get(_COOKIE), token):
            return None
        return PlainTextResponse("Open this page with ?token=..., as the server printed it.", 401, headers=HEADERS)

    app.router.routes.extend(
        (
            Route(f"{prefix}/", index),
            Route(f"{prefix}/playground/settings.json", describe),
            Route(f"{prefix}/playground/traces/{{response_id}}", traces),
            Route(f"{prefix}/playground/{{name:path}}", asset),
        )
    )


def _file(request: Request, name: str) -> Response:
    if name not in assets():
        return PlainTextResponse("Not found.", 404, headers=HEADERS)
    headers, content = {**HEADERS, "vary": "accept-encoding"}, assets()[name]
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"], content = "gzip", _compressed(name)
    return Response(content, media_type=_MEDIA[name.rpartition(".")[2]], headers=headers)


@cache
def _compressed(name: str) -> bytes:
    return gzip.compress(assets()[name])


def _matches(given: str | None, token: str) -> bool:
    return given is not None and hmac.compare_digest(given.encode(), token.encode())
