"""The outermost layers: the `Host` and `Origin` that a server on this machine serves, CORS, and exits of requests.

A page of any site can make a browser send requests to a server on the developer's machine, and by DNS rebinding even
under a name of its own. A server on a loopback address therefore serves only requests that were addressed to a loopback
name, and only pages that came from one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Match, Route

from hostedagent.agents.exits import contain_exits, exits_as_errors
from hostedagent.errors import Forbidden, InvalidRequest, RequestError
from hostedagent.platform import RESPONSE_ID_HEADER, SESSION_ID_HEADER

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

PROBE: Final = "/readiness"
"""Probed by the address of the container; the answer reveals nothing about a user."""

_ALLOW: Final = "allow the name with HostOptions(allowed_hosts=...)."
_ALLOW_ORIGIN: Final = "allow the origin with HostOptions(cors=...)."

_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_ORIGIN: Final = re.compile(rf"[a-z][a-z0-9+.-]*://{_HOST.pattern}", re.IGNORECASE)

_MAX_ID: Final = 256
_PRINTABLE: Final = range(0x21, 0x7F)


def is_loopback(host: str) -> bool:
    """Whether a name or an address can only mean this machine."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class AllowedHosts:
    """Which `Host` and `Origin` values are served.

    Nothing is checked if other machines can reach the server and no names are given: its proxy knows its names.

    Args:
        names: Names that are served beside the loopback ones, as `name` or `*.domain`; `*` for every name.
        origins: Origins whose pages are served too, as `https://name`; `*` for pages of every origin.
    """

    def __init__(self, names: Collection[str] = (), *, origins: Collection[str] = ()) -> None:
        self._origins = frozenset(origin.lower() for origin in origins)
        self._names = frozenset(name.lower() for name in names)
        self._is_checked = bool(names) and "*" not in self._names

    def bind(self, address: str) -> None:
        """Record the address that the server listens on."""
        self._is_checked = self._is_checked or (is_loopback(address) and "*" not in self._names)

    def check(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Check the head of a request.

        Raises:
            Forbidden: It has another host name, or comes from a page of another origin.
        """
        if not self._is_checked:
            return
        for key, value in headers:
            name, text = key.lower(), value.decode("latin-1")
            if name == b"host" and not self._allows(_host_of(text)):
                raise Forbidden(f"The host {text!r} is not served here. Use localhost, or {_ALLOW}")
            if name == b"origin" and not self._allows_origin(text):
                raise Forbidden(f"Pages of {text!r} are not served here. Use one of localhost, or {_ALLOW_ORIGIN}")

    def _allows_origin(self, origin: str) -> bool:
        is_named = "*" in self._origins or origin.lower() in self._origins
        return is_named or self._allows(_host_of(origin, is_origin=True))

    def _allows(self, host: str | None) -> bool:
        if host is None:
            return False
        name = host.rstrip(".").lower()
        if is_loopback(name) or name in self._names:
            return True
        return any(allowed.startswith("*.") and name.endswith(allowed[1:]) for allowed in self._names)


def _host_of(address: str, *, is_origin: bool = False) -> str | None:
    """The name or address in a `Host` or an `Origin`; `None` unless there is exactly one."""
    found = (_ORIGIN if is_origin else _HOST).fullmatch(address)
    return found["host"] if found is not None else None


_ROUTE: Final = r"/(?:responses|conversations|models|chat/completions|openapi\.json)(?:/.*)?"
_SLASHED: Final = re.compile(rf"{_ROUTE}(?<=/)")
_ALIAS: Final = re.compile(
    r"(?:/v1|/openai/v1|(?:(?:/api/projects/[^/]+)?/agents/[^/]+)?/endpoint/protocols/openai(?:/v1)?)"
    rf"(?P<route>{_ROUTE})"
)
"""Aliases of the routes: below `/v1`, as at OpenAI, and below an agent of a Foundry project."""


class EdgeMiddleware:
    """Checks heads, and serves aliases: `/v1/responses` as `/responses`, and each route with a slash at its end too."""

    def __init__(self, app: ASGIApp, *, allowed_hosts: AllowedHosts, prefix: str) -> None:
        self._app = app
        self._allowed_hosts = allowed_hosts
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        try:
            if path != PROBE:
                self._allowed_hosts.check(scope["headers"])
            _check_response_id(scope["headers"])
        except RequestError as error:
            await JSONResponse(error.body(), error.status)(scope, receive, send)
            return
        if (route := self._aliased(scope, path)) is not None:
            path = route
            scope = {**scope, "path": path, "raw_path": path.encode()}
        if path.endswith("/") and self._found(scope, _SLASHED, path) is not None:
            # A redirect would contain the host and the scheme behind the proxy.
            raw: bytes = scope.get("raw_path") or path.encode()
            scope = {**scope, "path": path.rstrip("/"), "raw_path": raw.rstrip(b"/")}
        await self._app(scope, receive, send)

    def _aliased(self, scope: Scope, path: str) -> str | None:
        """The route of an alias; `None` if the path is not an alias, or the application serves it itself."""
        found = self._found(scope, _ALIAS, path)
        return f"{path[: found.start()]}{found['route']}" if found is not None else None

    def _found(self, scope: Scope, pattern: re.Pattern[str], path: str) -> re.Match[str] | None:
        """The match of a path below the host's prefix, unless the application serves the path itself."""
        root = f"{scope.get('root_path', '')}{self._prefix}"
        found = pattern.fullmatch(path, len(root)) if path.startswith(root) else None
        return found if found is not None and not _is_served(scope) else None


def _is_served(scope: Scope) -> bool:
    app = scope.get("app")
    routes = app.routes if isinstance(app, Starlette) else ()
    return any(isinstance(route, Route) and route.matches(scope)[0] is Match.FULL for route in routes)


def _check_response_id(headers: Iterable[tuple[bytes, bytes]]) -> None:
    name = RESPONSE_ID_HEADER.encode()
    for key, value in headers:
        if key.lower() == name and (len(value) > _MAX_ID or any(byte not in _PRINTABLE for byte in value.strip())):
            raise InvalidRequest(f"{RESPONSE_ID_HEADER} has at most {_MAX_ID} printable ASCII characters, no spaces.")


ANY: Final = "*"

_EXPOSED: Final = (
    "x-request-id",
    SESSION_ID_HEADER,
    "x-platform-server",
    "x-platform-error-source",
    "retry-after",
    "x-should-retry",
)
"""Headers of an answer that a page may read beside the usual ones."""

_METHODS: Final = ("GET", "POST", "DELETE")


def add_cors(app: Starlette, origins: Collection[str]) -> None:
    """Answer preflights and let pages of some origins read responses; does nothing without origins.

    A page may send cookies only if its origin is named: with `*`, any page could use those of its visitor.
    """
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(origins),
            allow_methods=_METHODS,
            allow_headers=["*"],
            allow_credentials=ANY not in origins,
            expose_headers=_EXPOSED,
        )


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
