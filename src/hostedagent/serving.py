"""The server behind `AgentHost.run`, and how it ends: told by a signal, it refuses what is new and lets what runs end.

uvicorn by default: it starts sooner, is smaller and spends less on a request than Hypercorn, which the SDK brings and
which stays a choice. Either way the callbacks that were registered with the SDK run when the signal comes.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final, Literal, TypeAlias

from azure.ai.agentserver.responses import ResponsesAgentServerHost

Server: TypeAlias = Literal["uvicorn", "hypercorn"]

logger = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 30
"""How long requests may take to end once the process was told to, as the SDK's own server does it."""

_BACKLOG: Final = 2048
_HYPERCORN_LISTENS: Final = "Running on "


class App(ResponsesAgentServerHost):
    """The SDK's app, which tells what is to be called when the process is told to end."""

    def register_pre_shutdown_callback(self, fn: Callable[[], None]) -> None:
        """Call `fn` when the signal comes, before requests are drained."""
        self.pre_shutdown_callbacks = [*self.__dict__.get("pre_shutdown_callbacks", ()), fn]
        super().register_pre_shutdown_callback(fn)


def serve(
    app: App, *, host: str, port: int | None, server: Server, on_listening: Callable[[], None] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        OSError: The address cannot be bound.
    """
    port = app.config.port if port is None else port
    gc.freeze()  # What is loaded by now stays until the end: no collection need go through it again.
    if server == "hypercorn":
        _with_hypercorn(app, host, port, on_listening)
    else:
        _with_uvicorn(app, host, port, on_listening)


def _with_hypercorn(app: App, host: str, port: int, on_listening: Callable[[], None] | None) -> None:
    def told(record: logging.LogRecord) -> bool:
        if on_listening is None or not record.getMessage().startswith(_HYPERCORN_LISTENS):
            return True
        on_listening()
        return False

    errors = logging.getLogger("hypercorn.error")
    errors.addFilter(told)
    try:
        app.run(host=host, port=port)
    finally:
        errors.removeFilter(told)


def _with_uvicorn(app: App, host: str, port: int, on_listening: Callable[[], None] | None) -> None:
    import uvicorn

    called: list[Sequence[Callable[[], None]]] = []

    class Ending(uvicorn.Server):
        """Calls what is to be called at the signal, and ends with it as the SDK's server does: without an error."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            self.loop = asyncio.get_running_loop()
            await super().startup(sockets)
            if self.started and on_listening is not None:
                on_listening()

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            self.force_exit = self.should_exit and sig == signal.SIGINT
            self.should_exit = True
            if not called:
                called.append(app.pre_shutdown_callbacks)
                self.loop.call_soon_threadsafe(_call, app.pre_shutdown_callbacks)

    config = uvicorn.Config(
        app,
        http=_http(),
        lifespan="on",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,  # The SDK's middleware logs every request.
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = Ending(config)
    with listening(host, port) as listener:
        server.run(sockets=[listener])
    if not server.started:
        raise RuntimeError("The application did not start. What went wrong was logged before this.")


def _http() -> type[asyncio.Protocol] | Literal["h11"]:
    try:
        from hostedagent.bounded_http import BoundedProtocol
    except ImportError:  # There is no httptools for this Python.
        return "h11"
    return BoundedProtocol


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    It says that it speaks TCP, which `socket.create_server` leaves open: asyncio sends small writes at once only then.

    Raises:
        OSError: The address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _call(callbacks: Sequence[Callable[[], None]]) -> None:
    for callback in callbacks:
        try:
            callback()
        except Exception:
            logger.exception("A callback for the end of the process raised.")
