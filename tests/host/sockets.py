"""A WebSocket to an app in this process, message by message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.patience import PATIENCE

TERMINAL = ("response.completed", "response.incomplete", "response.failed", "error")


class Socket:
    """One connection. Messages of the app are read in their order."""

    def __init__(self, app: Any, headers: Mapping[str, str], path: str) -> None:
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.status: int | None = None
        """The status of a refused connection."""
        scope: dict[str, Any] = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower().encode(), text.encode()) for name, text in headers.items()],
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
            "state": {},
        }
        self._inbox.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(app(scope, self._inbox.get, self._outbox.put))

    async def open(self) -> None:
        """Wait for the answer to the handshake."""
        message = await self._next()
        if message["type"] == "websocket.http.response.start":
            self.status = message["status"]

    async def _next(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            return await self._outbox.get()

    def send(self, message: Mapping[str, Any] | str | bytes) -> None:
        """Send a message; a mapping as JSON."""
        if isinstance(message, bytes):
            self._inbox.put_nowait({"type": "websocket.receive", "bytes": message})
        else:
            text = message if isinstance(message, str) else json.dumps(message)
            self._inbox.put_nowait({"type": "websocket.receive", "text": text})

    def create(self, text: Any, **fields: Any) -> None:
        """Send a `response.create`."""
        self.send({"type": "response.create", "input": text, **fields})

    async def event(self) -> dict[str, Any]:
        """The next event."""
        message = await self._next()
        assert message["type"] == "websocket.send", message
        return json.loads(message["text"])

    async def until(self, *kinds: str) -> dict[str, Any]:
        """The next event of one of these types."""
        while (event := await self.event())["type"] not in kinds:
            pass
        return event

    async def turn(self, text: Any, **fields: Any) -> dict[str, Any]:
        """One turn: its response, or the error that refuses it."""
        self.create(text, **fields)
        event = await self.until(*TERMINAL)
        return event.get("response", event)

    async def leave(self) -> None:
        """Hang up, and wait until the app has dealt with it."""
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})
        async with asyncio.timeout(PATIENCE):
            await self.task


@asynccontextmanager
async def connecting(app: Any, path: str = "/responses", **headers: str) -> AsyncGenerator[Socket]:
    """Open a WebSocket; leaving the block hangs up."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    socket = Socket(app, {"host": "host", **named}, path)
    await socket.open()
    try:
        yield socket
    finally:
        await socket.leave()
