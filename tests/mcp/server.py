"""A real MCP server over streamable HTTP on loopback, which records who asked it what, and fails as it is told."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ImageContent, TextContent

from hostedagent.testing import Gate

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

Refusal: TypeAlias = Mapping[str, Any]
"""A JSON-RPC error object."""


@dataclass(slots=True)
class Seen:
    """One request. `session` is the id that the server gave or was told."""

    verb: str
    method: str
    headers: Mapping[str, str]
    query: str
    session: str | None
    tool: str | None = None


@dataclass(slots=True)
class Served:
    """A server under way.

    `refuse` maps a JSON-RPC method to what answers it instead of the server: an error object for the headers of a
    request, or nothing. `status` gives the HTTP status of requests that are refused altogether.
    """

    url: str
    seen: list[Seen] = field(default_factory=list[Seen])
    refuse: dict[str, Callable[[Mapping[str, str]], Refusal | None]] = field(
        default_factory=dict[str, Callable[[Mapping[str, str]], Refusal | None]]
    )
    status: Callable[[Mapping[str, str]], int | None] = lambda headers: None
    is_legacy: bool = True

    def methods(self) -> list[str]:
        return [one.method for one in self.seen if one.method]

    def calls(self) -> list[str]:
        return [one.tool for one in self.seen if one.tool is not None]

    def sessions(self) -> set[str]:
        return {one.session for one in self.seen if one.session is not None}

    def ended(self) -> set[str]:
        return {one.session for one in self.seen if one.verb == "DELETE" and one.session is not None}


def weather(gate: Gate | None = None) -> MCPServer:
    """Tools that answer, fail, draw and say whose session it is; `wait` stands at the gate."""
    server = MCPServer("weather", log_level="CRITICAL")

    @server.tool(structured_output=False)
    async def forecast(city: str) -> str:
        """Tell the weather of a city."""
        return f"rain in {city}"

    @server.tool(structured_output=False)
    async def whoami(ctx: Context[Any, Any]) -> str:
        """Tell whose session it is."""
        return str(ctx.headers.get("authorization") if ctx.headers else None)

    @server.tool(structured_output=False)
    async def chart() -> list[TextContent | ImageContent]:
        """Draw a chart."""
        return [
            TextContent(type="text", text="a chart"),
            ImageContent(type="image", data="iVBORw0KGgo=", mime_type="image/png"),
        ]

    @server.tool()
    async def table() -> dict[str, int]:
        """Give numbers."""
        return {"mm": 3}

    @server.tool(structured_output=False)
    async def broken() -> str:
        """Fail."""
        raise ValueError("no such station")

    @server.tool(structured_output=False)
    async def wait() -> str:
        """Wait."""
        await (gate or Gate()).wait()
        return "waited"

    return server


class _Recorder:
    def __init__(self, app: ASGIApp, served: Served) -> None:
        self._app = app
        self._served = served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        body = await _body(receive)
        message = cast("dict[str, Any]", json.loads(body)) if body else {}
        seen = Seen(
            scope["method"],
            str(message.get("method", "")),
            headers,
            scope["query_string"].decode(),
            headers.get("mcp-session-id"),
            message["params"]["name"] if message.get("method") == "tools/call" else None,
        )
        self._served.seen.append(seen)
        if (status := self._served.status(headers)) is not None:
            await _answer(send, status, {})
            return
        error = self._refusal(seen)
        if error is not None and "id" in message:
            await _answer(send, 200, {"jsonrpc": "2.0", "id": message["id"], "error": error})
            return

        async def sending(event: Message) -> None:
            if event["type"] == "http.response.start":
                given = {name.decode().lower(): value.decode() for name, value in event["headers"]}
                seen.session = seen.session or given.get("mcp-session-id")
            await send(event)

        rest = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receiving() -> Message:
            return next(rest, None) or await receive()

        await self._app(scope, receiving, sending)

    def _refusal(self, seen: Seen) -> Refusal | None:
        if seen.method == "server/discover" and self._served.is_legacy:
            return {"code": -32601, "message": "Method not found"}
        refuse = self._served.refuse.get(seen.method)
        return refuse(seen.headers) if refuse is not None else None


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            return body


async def _answer(send: Send, status: int, value: Mapping[str, Any]) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(value).encode()})


class _Quiet(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def listening() -> socket.socket:
    """A socket on a port of its own. Who connects waits until somebody serves it."""
    bound = socket.create_server(("127.0.0.1", 0))
    bound.setblocking(False)
    return bound


def url_of(bound: socket.socket) -> str:
    return f"http://127.0.0.1:{bound.getsockname()[1]}"


@asynccontextmanager
async def serving(server: MCPServer | None = None, *, path: str = "/mcp") -> AsyncGenerator[Served]:
    """Serve `server`, by default `weather()`, until the block ends."""
    bound = listening()
    served = Served(f"{url_of(bound)}{path}")
    app = (server or weather()).streamable_http_app(streamable_http_path=path)
    config = uvicorn.Config(
        _Recorder(app, served), log_level="critical", lifespan="on", timeout_graceful_shutdown=0, ws="none"
    )
    quiet = _Quiet(config)
    task = asyncio.create_task(quiet.serve(sockets=[bound]))
    try:
        yield served
    finally:
        quiet.should_exit = quiet.force_exit = True
        await asyncio.wait({task})
        bound.close()
