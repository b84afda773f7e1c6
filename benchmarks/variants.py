"""What a setting costs: ours as it is beside ours with one thing changed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

from environments import System, python_with_servers
from loads import STREAM, says, sent
from processes import Setting, serving
from rows import Measured, Row, growth

_LOADS: Final[Mapping[str, tuple[str, dict[str, Any], int, int]]] = {
    "paced": ("a stream of 100 deltas, 5 ms apart", says(100, pause=5, **STREAM), 16, 16),
    "stream": ("a stream of 1,000 deltas, never waiting", says(1000, **STREAM), 4, 1),
    "short": ("a short answer", says(10), 40, 1),
}


class _Sink(BaseHTTPRequestHandler):
    """Takes telemetry and forgets it."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def _sink() -> Generator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Variants:
    """CPU a request with one thing changed, as a multiple of the CPU without.

    Args:
        name: What it is called on the command line.
        title: What it is called in a table.
        base: What the others are compared with.
        changed: The name of each other variant.
        settings: How each is served, the first being the one that the others are compared with.
    """

    name: str
    title: str
    base: str
    changed: Mapping[str, str]
    settings: Callable[[ExitStack], Mapping[str, Setting]]
    systems: tuple[System, ...] = ("ours",)
    most_runs: int | None = None

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(
            growth(f"{says}: {load}", f"{variant} {key}", f"{self.base} {key}")
            for variant, says in self.changed.items()
            for key, (load, *_) in _LOADS.items()
        )

    @contextmanager
    def open(self, system: System, share: float) -> Generator[Callable[[], Measured]]:
        with ExitStack() as stack:
            served = {
                variant: stack.enter_context(serving(system, setting))
                for variant, setting in self.settings(stack).items()
            }

            def measure() -> Measured:
                found: dict[str, float] = {}
                for key, (_, body, count, concurrency) in _LOADS.items():
                    sends = max(round(count * share), 1)
                    for variant, one in served.items():
                        found[f"{variant} {key}"] = sent(one, body, sends, concurrency)[2] / sends
                return found

            measure()
            yield measure


def _settings(stack: ExitStack) -> Mapping[str, Setting]:
    exporter = (
        ("OTEL_EXPORTER_OTLP_ENDPOINT", stack.enter_context(_sink())),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    )
    return {
        "shipped": Setting(),
        "keep_alive": Setting(environment=(("BENCH_KEEP_ALIVE", "15"),)),
        "telemetry": Setting(environment=exporter),
    }


_SERVERS: Final = {
    "uvicorn-h11": "uvicorn with h11",
    "uvicorn-httptools": "uvicorn with httptools",
    "uvicorn-uvloop": "uvicorn with httptools and uvloop",
    "hypercorn-uvloop": "Hypercorn with uvloop",
    "granian": "granian",
}


def _servers(_: ExitStack) -> Mapping[str, Setting]:
    python = python_with_servers()
    return {
        server: Setting(script="ours_on.py", python=python, environment=(("BENCH_SERVER", server),))
        for server in ("hypercorn", *_SERVERS)
    }


VARIANTS: Final = (
    Variants(
        name="settings",
        title="one setting changed, against ours as shipped (CPU of the server)",
        base="shipped",
        changed={"keep_alive": "`HostOptions(keep_alive=15)`", "telemetry": "an OTLP exporter"},
        settings=_settings,
    ),
    Variants(
        name="servers",
        title="ours on other ASGI servers, against Hypercorn (CPU of the server)",
        base="hypercorn",
        changed=_SERVERS,
        settings=_servers,
    ),
)
