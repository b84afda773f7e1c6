"""Prints one line for each request that a server on this machine has answered."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import click

from hostedagent.protocol.sse import FrameReader
from hostedagent.protocol.statuses import END_EVENTS
from hostedagent.protocol.values import fields_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_QUIET: Final = ("/readiness", "/liveness")
"""Routes that probes ask every few seconds."""

_LAST: Final = tuple(name.encode() for name in END_EVENTS)
_MOST: Final = 1 << 20
"""Bytes of a body that are read for the line; of a larger one the line has no model and no tokens."""


class RequestLines:
    """ASGI middleware that prints method, path, status, time, model and tokens of each request."""

    def __init__(self, app: ASGIApp, show: Callable[[str], None]) -> None:
        self._app = app
        self._show = show

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, and print its line when it has ended."""
        if scope["type"] != "http" or scope["path"].endswith(_QUIET):
            await self._app(scope, receive, send)
            return
        began, seen = time.perf_counter(), _Seen()

        async def watched(message: Message) -> None:
            seen.see(message)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            took = time.perf_counter() - began
            self._show(line(scope["method"], scope["path"], seen.status, took, seen.response()))


@dataclass(slots=True)
class _Seen:
    status: int = 0
    is_stream: bool = False
    body: bytearray = field(default_factory=bytearray)

    def see(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            kinds = [value for name, value in message["headers"] if name.lower() == b"content-type"]
            self.is_stream = any(kind.startswith(b"text/event-stream") for kind in kinds)
        elif message["type"] == "http.response.body":
            chunk: bytes = message.get("body", b"")
            # Of a stream only the terminal event counts, and what follows it.
            starts = not self.is_stream or self.body or any(name in chunk for name in _LAST)
            if starts and len(self.body) <= _MOST:
                self.body += chunk

    def response(self) -> Mapping[str, Any]:
        """The response object that was sent; empty if there was none."""
        try:
            if self.is_stream:
                events = [json.loads(frame.data) for frame in FrameReader().feed(bytes(self.body)) if frame.data]
                return fields_of(events[-1]["response"]) if events else {}
            body: object = json.loads(self.body)
        except (ValueError, KeyError, TypeError):
            return {}
        return fields_of(body)


def line(method: str, path: str, status: int, seconds: float, response: Mapping[str, Any]) -> str:
    """The line of one request."""
    is_bad = status >= 400 or response.get("status") == "failed" or status == 0
    words = [
        f"{method} {path}",
        click.style(str(status or "cut off"), fg="red" if is_bad else "green"),
        _spoken(seconds),
    ]
    if response.get("object") == "response":
        words += [str(response["status"])] if response.get("status") != "completed" else []
        words += [str(response["model"])] if response.get("model") else []
        usage = fields_of(response.get("usage"))
        if usage:
            words.append(f"{usage.get('input_tokens', 0)} + {usage.get('output_tokens', 0)} tokens")
    return "  ".join(words)


def _spoken(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
