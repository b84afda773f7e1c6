"""The server behind `AgentHost.run`, and its shutdown: after a signal, it refuses new turns and lets running ones end.

The default is uvicorn: it starts faster, is smaller and needs less CPU per request than Hypercorn, which the SDK
installs and which can be chosen. With either, the callbacks registered with the SDK run when the signal arrives.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Literal, TypeAlias

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from hostedagent.agents.exits import exits_as_errors
from hostedagent.errors import ConfigurationError
from hostedagent.options import HostOptions
from hostedagent.server.limits import ConnectionLimits

Server: TypeAlias = Literal["uvicorn", "hypercorn"]

logger = logging.getLogger(__name__)

_BACKLOG: Final = 2048
_HYPERCORN_LISTENS: Final = "Running on "


class StartupFailed(RuntimeError):
    """The application did not start. What went wrong was logged before."""

    def __init__(self) -> None:
        super().__init__("The application did not start. What went wrong was logged before this.")


class Signalled(Starlette):
    """An app that calls functions when the process gets a signal to end. Register them before serving."""

    _callbacks: tuple[Callable[[], None], ...] = ()

    @property
    def port(self) -> int:
        """The port that the environment asks for."""
        raise NotImplementedError

    @property
    def has_websockets(self) -> bool:
        """Whether the app serves WebSockets."""
        return any(isinstance(route, WebSocketRoute) for route in self.router.routes)

    def register_pre_shutdown_callback(self, fn: Callable[[], None]) -> None:
        """Call `fn` when the signal arrives, before requests are drained."""
        self._callbacks = (*self._callbacks, fn)

    def tell(self) -> None:
        """Run the registered callbacks: the signal has arrived."""
        for callback in self._callbacks:
            try:
                with exits_as_errors():
                    callback()
            except Exception:
                logger.exception("A callback for the end of the process raised.")


def serve(
    app: Signalled,
    *,
    host: str,
    port: int | None,
    server: Server,
    options: HostOptions,
    on_listening: Callable[[], None] | None = None,
    listener: socket.socket | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        OSError: The address cannot be bound.
        ConfigurationError: The server cannot serve this app, or the configuration is wrong, as the startup has found.
        StartupFailed: The application did not start for another reason.
    """
    port = app.port if port is None else port
    gc.freeze()  # Objects loaded so far stay until the end, so garbage collections can skip them.
    if server == "hypercorn":
        run = getattr(app, "run", None)  # Of the SDK's app.
        if run is None:
            raise ConfigurationError("server='hypercorn' needs AgentHost(driver='agentserver').")
        _with_hypercorn(run, host, port, on_listening)
    else:
        from hostedagent.server.uvicorn import serve_with_uvicorn

        limits = ConnectionLimits(options.head_timeout, options.body_timeout, options.max_connections)
        with listener or listening(host, port) as listens, _configuration_errors(app):
            serve_with_uvicorn(
                app,
                listens,
                grace=options.shutdown_grace,
                limits=limits,
                max_message=options.max_body_bytes if app.has_websockets else None,
                on_listening=on_listening,
                on_signal=app.tell,
            )


@contextmanager
def _configuration_errors(app: Signalled) -> Generator[None]:
    """Raise the error of a wrong configuration that the startup finds, instead of logging where it was raised."""
    found: list[ConfigurationError] = []
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(owner: Any) -> AsyncGenerator[Any]:
        try:
            async with inner(owner) as state:
                yield state
        except ConfigurationError as error:
            found.append(error)
            raise

    def is_wanted(_: logging.LogRecord) -> bool:
        return not found

    log = logging.getLogger("uvicorn.error")
    log.addFilter(is_wanted)
    app.router.lifespan_context = lifespan
    try:
        yield
    except StartupFailed:
        if found:
            raise found[0] from None
        raise
    finally:
        app.router.lifespan_context = inner
        log.removeFilter(is_wanted)


def _with_hypercorn(run: Callable[..., None], host: str, port: int, on_listening: Callable[[], None] | None) -> None:
    def told(record: logging.LogRecord) -> bool:
        if on_listening is None or not record.getMessage().startswith(_HYPERCORN_LISTENS):
            return True
        on_listening()
        return False

    errors = logging.getLogger("hypercorn.error")
    errors.addFilter(told)
    try:
        run(host=host, port=port)
    finally:
        errors.removeFilter(told)


def listening(host: str, port: int) -> socket.socket:
    """A listening socket.

    Its protocol is TCP explicitly, unlike that of `socket.create_server`: asyncio disables Nagle's algorithm only then.

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
