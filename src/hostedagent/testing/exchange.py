"""One HTTP exchange with an ASGI app, in process and full duplex.

The app runs in a task of its own; what it sends goes through a bounded queue, so a reader that does not read makes the
app wait, as a socket would. Leaving early is a real disconnect: the app's `receive` answers `http.disconnect`, and what
it still sends is dropped, as the server of the platform (Hypercorn) does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

Message: TypeAlias = MutableMapping[str, Any]
ASGIApp: TypeAlias = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]
]
HeaderPairs: TypeAlias = Iterable[tuple[bytes, bytes]]

QUEUE_LIMIT = 8


class ServerClosedError(ConnectionError):
    """The app ended without finishing its response; `__cause__` is what it raised, if anything."""


class Exchange:
    """A request on its way and its answer coming back. Made by the clients; use it from one task."""

    def __init__(
        self,
        app: ASGIApp,
        scope: Message,
        body: bytes | AsyncIterable[bytes],
        *,
        patience: float,
        limit: int,
        errors: list[Exception],
    ) -> None:
        self._patience = patience
        self._errors = errors
        self._inbox: asyncio.Queue[Message] = asyncio.Queue(limit)
        self._gone = asyncio.Event()
        self._all_sent = asyncio.Event()
        self._all_read = False
        self._body: AsyncIterator[bytes] | None = _chunks(body)
        self.error: Exception | None = None
        """The exception that the app raised, if any."""
        self.status = 0
        self.raw_headers: list[tuple[bytes, bytes]] = []
        self.task = asyncio.create_task(self._run(app, scope), name=f"{scope['method']} {scope['path']}")

    async def start(self) -> None:
        """Wait for the status line.

        An app that raises before it answers is a status 500 with an empty body, as on a real server.
        """
        message = await self._next()
        if message["type"] == "app.ended":
            self.status = 500
            self._all_read = True
            return
        self.status = message["status"]
        self.raw_headers = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", [])]

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, chunk by chunk, as the app sends it.

        Raises:
            ServerClosedError: the app ended in the middle of the body.
        """
        while not self._all_read:
            message = await self._next()
            if message["type"] == "app.ended":
                raise ServerClosedError("the app ended without finishing its response") from self.error
            self._all_read = not message.get("more_body", False)
            if body := message.get("body", b""):
                yield bytes(body)

    def disconnect(self) -> None:
        """Hang up. Does not wait for the app, as a client would not; `task` ends when the app has."""
        self._gone.set()
        while not self._inbox.empty():
            self._inbox.get_nowait()

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout(self._patience):
                return await self._inbox.get()
        except TimeoutError:
            raise TimeoutError(f"the app sent nothing for {self._patience:g} s: {self.task.get_name()}") from None

    async def _run(self, app: ASGIApp, scope: Message) -> None:
        try:
            await app(scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - any app, any error: the client's caller judges
            self.error = error
            self._errors.append(error)
        finally:
            await self._put({"type": "app.ended"})

    async def _receive(self) -> Message:
        if self._body is not None:
            chunk = await anext(self._body, None)
            if chunk is not None:
                return {"type": "http.request", "body": chunk, "more_body": True}
            self._body = None
            return {"type": "http.request", "body": b"", "more_body": False}
        if self._gone.is_set() or self._all_sent.is_set():  # At once: Starlette asks without waiting.
            return {"type": "http.disconnect"}
        waits = [asyncio.ensure_future(event.wait()) for event in (self._gone, self._all_sent)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._all_sent.set()
        if message["type"] in ("http.response.start", "http.response.body"):
            await self._put(message)

    async def _put(self, message: Message) -> None:
        if self._gone.is_set():
            return
        if not self._inbox.full():
            self._inbox.put_nowait(message)
            return
        put = asyncio.ensure_future(self._inbox.put(message))
        gone = asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait((put, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            put.cancel()
            gone.cancel()


async def _chunks(body: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(body, bytes):
        if body:
            yield body
        return
    async for chunk in body:
        yield chunk
