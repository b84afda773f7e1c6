"""Serves an app for tests that never open it: on the caller's loop, or on one that outlives the request.

A `TestClient` that is not entered has a loop for each request, and a turn in the background would end with it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_TICK = 0.01
"""Seconds after which the other loop sees what a test did to its events without waking it."""


class Served:
    """An app that opens itself.

    Args:
        app: Makes the app, once the test has registered its handlers.
    """

    def __init__(self, app: Callable[[], Any]) -> None:
        self._make = app
        self._app: Any = None
        self._is_open = False
        self._thread: asyncio.AbstractEventLoop | None = None

    @property
    def app(self) -> Any:
        """The app that is served."""
        if self._app is None:
            self._app = self._make()
        return self._app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or the lifespan."""
        if scope["type"] == "lifespan":
            self._is_open = True
            await self.app(scope, receive, send)
        elif self._is_open or not _has_own_loop(scope):
            if not self._is_open:
                self._is_open = True
                await _open(self.app)
            await self.app(scope, receive, send)
        else:
            await self._elsewhere(scope, receive, send)

    async def _elsewhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        here = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = _loop()
            asyncio.run_coroutine_threadsafe(_open(self.app), self._thread).result()
        there = self._thread

        async def received() -> Message:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_awaited(receive()), here))

        async def sent(message: Message) -> None:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_awaited(send(message)), here))

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_awaited(self.app(scope, received, sent)), there))


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def _has_own_loop(scope: Scope) -> bool:
    return any(name == b"user-agent" and value == b"testclient" for name, value in scope["headers"])


def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()

    def tick() -> None:
        loop.call_later(_TICK, tick)

    loop.call_soon(tick)
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


_OPEN: set[asyncio.Task[None]] = set()


async def _open(app: ASGIApp) -> None:
    """Start an app on this loop, which it is open for as long as the loop runs."""
    started = asyncio.Event()
    never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    messages: list[Message] = [{"type": "lifespan.startup"}]

    async def receive() -> Message:
        return messages.pop() if messages else await never

    async def send(message: Message) -> None:
        if message["type"].startswith("lifespan.startup"):
            started.set()

    async def serve() -> None:
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    task = asyncio.create_task(serve())
    _OPEN.add(task)
    task.add_done_callback(_OPEN.discard)
    await started.wait()
