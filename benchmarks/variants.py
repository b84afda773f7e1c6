"""What a setting costs: ours as it is beside ours with one thing changed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

from environments import System
from loads import STREAM, says, sent
from processes import Setting, serving
from rows import Measured, Row, growth

_LOADS: Final[Mapping[str, tuple[str, dict[str, Any], int, int]]] = {
    "paced": ("a stream of 100 deltas, 5 ms apart", says(100, pause=5, **STREAM), 16, 16),
    "stream": ("a stream of 1,000 deltas, never waiting", says(1000, **STREAM), 4, 1),
    "short": ("a short answer", says(10), 40, 1),
}
_VARIANTS: Final[Mapping[str, str]] = {
    "keep_alive": "`HostOptions(keep_alive=15)`",
    "telemetry": "an OTLP exporter",
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
    """CPU a request with one setting changed, as a multiple of the CPU without."""

    name: str = "settings"
    title: str = "one setting changed, against ours as it is (CPU of the server)"
    systems: tuple[System, ...] = ("ours",)
    most_runs: int | None = None
    rows: tuple[Row, ...] = field(
        default=tuple(
            growth(f"{changed}: {load}", f"{variant}_{key}", f"default_{key}")
            for variant, changed in _VARIANTS.items()
            for key, (load, *_) in _LOADS.items()
        )
    )

    @contextmanager
    def open(self, system: System, share: float) -> Generator[Callable[[], Measured]]:
        with ExitStack() as stack:
            endpoint = stack.enter_context(_sink())
            environments = {
                "default": (),
                "keep_alive": (("BENCH_KEEP_ALIVE", "15"),),
                "telemetry": (
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
                    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
                ),
            }
            served = {
                variant: stack.enter_context(serving(system, Setting(environment=environment)))
                for variant, environment in environments.items()
            }

            def measure() -> Measured:
                found: dict[str, float] = {}
                for key, (_, body, count, concurrency) in _LOADS.items():
                    sends = max(round(count * share), 1)
                    for variant, one in served.items():
                        found[f"{variant}_{key}"] = sent(one, body, sends, concurrency)[2] / sends
                return found

            measure()
            yield measure


VARIANTS: Final = (Variants(),)
