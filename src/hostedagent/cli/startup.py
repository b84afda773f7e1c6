"""The start of a server, in named steps: how long each took, and which one failed.

A hosted process that cannot serve stays, and answers every request, the platform's readiness probe first, with 503 and
the name of the step that failed. One that just ends looks from outside like one that was never started.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any, Final, Literal, TypeAlias

Step: TypeAlias = Literal["environment", "port", "packages", "agent", "server"]
"""Reading `--env-file`; finding the port; importing the SDK and Agent Framework; loading what is served; listening."""

_METHODS: Final = ("GET", "HEAD", "POST", "DELETE")


class StartError(Exception):
    """The server cannot start."""

    def __init__(self, step: Step, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.step: Step = step
        self.message = message
        self.code = code


class Clock:
    """Measures the steps of a start."""

    def __init__(self) -> None:
        self._began = self._last = time.perf_counter()
        self._took: dict[str, float] = {}

    @contextmanager
    def step(self, name: Step) -> Generator[None]:
        """Measure one step; any other exception becomes a `StartError` of this step."""
        try:
            yield
        except StartError:
            raise
        except Exception as error:
            raise StartError(name, f"{type(error).__name__}: {error}") from error
        finally:
            self.end(name)

    def end(self, name: Step) -> None:
        """End a step that started with the end of the one before."""
        now = time.perf_counter()
        self._took[name] = self._took.get(name, 0.0) + now - self._last
        self._last = now

    def __str__(self) -> str:
        """The whole, and its parts that can be felt."""
        parts = ", ".join(f"{name} {took:.1f}" for name, took in self._took.items() if took >= 0.05)
        whole = f"{self._last - self._began:.1f} s"
        return f"{whole} ({parts})" if parts else whole


@contextmanager
def startup_errors(place: str) -> Generator[None]:
    """Report what a server raises that did not start as an error of its last step."""
    from hostedagent.errors import ConfigurationError
    from hostedagent.server.serve import StartupFailed

    try:
        yield
    except ConfigurationError as error:
        raise StartError("server", f"{place} cannot be served: {error}", code=2) from error
    except StartupFailed as error:
        raise StartError("server", str(error)) from error


def stay_unready(host: str, port: int, step: Step) -> None:
    """Answer every request with 503 until SIGTERM or SIGINT. Returns at once when the port cannot be bound."""
    body = json.dumps(
        {
            "error": {
                "type": "server_error",
                "code": "not_ready",
                "message": f"The agent cannot serve: the step {step!r} of its start failed. The log says why.",
            }
        }
    ).encode()

    class Unready(BaseHTTPRequestHandler):
        def do(self) -> None:
            self.send_response(503)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing: the probe comes every few seconds."""

    for method in _METHODS:
        setattr(Unready, f"do_{method}", Unready.do)
    try:
        server = ThreadingHTTPServer((host, port), Unready)
    except OSError:
        return

    def stop(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=server.shutdown).start()  # It waits for the loop, which this thread runs.

    with server:
        print(f"Answering 503 on port {port} until the process is stopped.", flush=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        server.serve_forever()
