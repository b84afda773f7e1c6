"""Runs uvicorn with a bounded shutdown: after a signal, it waits for running turns, but not for hanging clients.

A client that stopped sending or reading is disconnected soon after the grace period. A coroutine that ignores its
cancellation does not keep the process alive.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Final, Literal

import uvicorn

from hostedagent.observability.logging import log_failure
from hostedagent.server.limits import ConnectionLimits, rate_limited_logs
from hostedagent.server.serve import StartupFailed

if TYPE_CHECKING:
    from starlette.types import ASGIApp

logger = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 30
"""Seconds that requests may take to end after the signal, as in the SDK's own server."""

HANGING_SECONDS: Final = 6.0
"""Seconds that the last responses may take after the grace period: a run has 5 to clean up."""

KEEP_ALIVE_SECONDS: Final = 75
"""Seconds that a connection is kept for a next request: longer than clients (5 in `openai`) and proxies (60 in nginx)
keep theirs. A server that closes first does so under requests that are on their way."""

AGAIN_SECONDS: Final = 1.0
"""After how long another Ctrl+C means that nothing is to be waited for. What comes sooner is the same one: a terminal
sends it to `hostedagent run --reload` and to the server behind it, and the one passes it on to the other."""

ACCEPTED_AT_ONCE: Final = 256
"""Connections taken from the kernel before those beyond the limit are refused; less than what is kept for them."""

LAST_SECONDS: Final = 5.0
"""Seconds that a coroutine may ignore its cancellation, once everything else has ended."""


def serve_with_uvicorn(
    app: ASGIApp,
    listener: socket.socket,
    *,
    grace: float,
    limits: ConnectionLimits,
    max_message: int | None,
    on_listening: Callable[[], None] | None,
    on_signal: Callable[[], None],
) -> None:
    """Serve on a socket until SIGTERM or SIGINT.

    Args:
        grace: Seconds that turns have after the signal.
        limits: Limits on connections and on the time for requests to arrive.
        max_message: The largest WebSocket message in bytes; `None` if WebSockets are not served.

    Raises:
        StartupFailed: The application did not start.
    """
    config = configuration(app, limits, max_message)
    over = threading.Event()
    server = _Ending(config, grace, on_listening, on_signal, over)
    try:
        with rate_limited_logs(), _told_once(server):
            _run(server, listener)
    finally:
        over.set()
    if not server.started:
        raise StartupFailed


def configuration(app: ASGIApp, limits: ConnectionLimits, max_message: int | None) -> uvicorn.Config:
    """The configuration of the server; the parameters are those of `serve_with_uvicorn`."""
    return uvicorn.Config(
        app,
        http=_http(limits),
        backlog=ACCEPTED_AT_ONCE,
        lifespan="on",
        ws="wsproto" if max_message is not None else "none",
        ws_max_size=max_message or 0,
        log_config=None,
        log_level="warning",
        access_log=False,  # The SDK's middleware logs every request.
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


@contextmanager
def _told_once(server: _Ending) -> Generator[None]:
    """Keep a Ctrl+C that comes twice from interrupting what follows the server, which restores the handler set here."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return

    def interrupt(sig: int, frame: FrameType | None) -> None:
        if not server.was_just_told:
            before(sig, frame)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        if not server.was_just_told:
            signal.signal(signal.SIGINT, before)


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    """Run the server to its end, even if code of a turn raises out of its event loop or stops it.

    Tasks of a turn cannot exit the process (`agents.exits`), but `loop.call_later(1, sys.exit)` raises out of the loop,
    and so does a handler of a signal, such as one that raises `TimeoutError` after `signal.alarm`. The loop is then
    continued with everything that was scheduled.
    """
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        loop = runner.get_loop()
        asyncio.set_event_loop(loop)
        serving = loop.create_task(server.serve(sockets=[listener]), name="hostedagent-server")
        while not serving.done():
            try:
                loop.run_until_complete(serving)
            except BaseException as error:
                if serving.done() or loop.is_closed():
                    raise
                log_failure(logger, "Code on the event loop would have ended the process", error)
        serving.result()


class _Ending(uvicorn.Server):
    """Calls the callback at the signal, and exits without an error, as the SDK's server does."""

    def __init__(
        self,
        config: uvicorn.Config,
        grace: float,
        on_listening: Callable[[], None] | None,
        on_signal: Callable[[], None],
        over: threading.Event,
    ) -> None:
        super().__init__(config)
        self._grace = grace
        self._on_listening = on_listening
        self._on_signal = on_signal
        self._over = over
        self._told_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            await super().startup(sockets)
        except SystemExit:  # Later versions of uvicorn exit when the application does not start; earlier ones return.
            self.should_exit = True
        if self.started and self._on_listening is not None:
            self._on_listening()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._told_at is None:
            self._told_at = time.monotonic()
            self.should_exit = True
            self._loop.call_soon_threadsafe(self._tell)
        elif sig == signal.SIGINT and not self.was_just_told:
            self.force_exit = True

    @property
    def was_just_told(self) -> bool:
        """Whether the signal came so lately that another one is the same."""
        return self._told_at is not None and time.monotonic() - self._told_at <= AGAIN_SECONDS

    def _tell(self) -> None:
        self._on_signal()
        self._loop.call_later(self._grace + HANGING_SECONDS, self._hang_up)

    def _hang_up(self) -> None:
        if connections := list(self.server_state.connections):
            logger.warning("%d connections did not end in time and were closed.", len(connections))
        for connection in connections:
            connection.transport.abort()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        threading.Thread(target=_end, args=(self._over,), name="hostedagent-end", daemon=True).start()


def _end(over: threading.Event) -> None:
    if not over.wait(LAST_SECONDS):
        logger.error("Something ignored its cancellation; the process was ended without it.")
        logging.shutdown()
        os._exit(1)


def _http(limits: ConnectionLimits) -> type[asyncio.Protocol] | Literal["h11"]:
    try:
        from hostedagent.server.httptools import bounded
    except ImportError:  # There is no httptools for this Python.
        return "h11"
    return bounded(limits)
