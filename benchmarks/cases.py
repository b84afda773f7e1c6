"""What is measured. A case serves the systems side by side and measures them in turns, so that all meet the same machine."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from client import Request, load
from environments import SYSTEMS, System
from processes import Served, Setting

HTTP_SYSTEMS: Final[tuple[System, ...]] = ("ours", "sdk", "helpers", "peer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A number of equal requests, so many at a time.

    Args:
        name: What it is called on the command line.
        title: What it is called in a table.
        body: The request.
        count: How many requests make one measurement.
        concurrency: How many are under way at any time.
        setting: How the systems are served.
        systems: The systems that it is about.
        shows: The quantities it is about.
    """

    name: str
    title: str
    body: Mapping[str, Any]
    count: int
    concurrency: int = 1
    setting: Setting = field(default_factory=Setting)
    systems: tuple[System, ...] = SYSTEMS
    shows: tuple[str, ...] = ("cpu",)

    def measure(self, served: Served, share: float) -> dict[str, float]:
        """Measure once; `share` below 1 sends fewer requests."""
        count = max(round(self.count * share), min(self.concurrency, 2))
        requests = [Request.of(dict(self.body))] * count
        before = served.cpu
        answers, seconds = asyncio.run(load(served.port, requests, concurrency=min(self.concurrency, count)))
        used = served.cpu - before
        whole = sorted(answer.seconds for answer in answers)
        first = sorted(answer.first_delta for answer in answers)
        return {
            "cpu": used / count * 1e3,
            "per_second": count / seconds,
            "p50": statistics.median(whole) * 1e3,
            "p99": whole[int(len(whole) * 0.99)] * 1e3,
            "first_p50": statistics.median(first) * 1e3,
            "first_p99": first[int(len(first) * 0.99)] * 1e3,
        }


def says(words: int, *, pause: int = 0, **more: Any) -> dict[str, Any]:
    """A request for so many words, with milliseconds between them."""
    return {"model": "words", "input": f"Please say words={words} pause={pause}", **more}


STREAM: Final = {"stream": True, "store": False}

CASES: Final[tuple[Load, ...]] = (
    Load(name="stream-1000", title="stream of 1,000 deltas, never waiting", body=says(1000, **STREAM), count=4),
    Load(
        name="paced",
        title="stream of 100 deltas, 5 ms apart, concurrency 16",
        body=says(100, pause=5, **STREAM),
        count=32,
        concurrency=16,
    ),
    Load(
        name="stored-50",
        title="stored stream of 50 deltas, concurrency 16",
        body=says(50, stream=True),
        count=64,
        concurrency=16,
        shows=("cpu", "first_p50", "first_p99"),
    ),
    Load(name="short", title="short answer, not streamed", body=says(10), count=60),
    Load(name="whole-200", title="200 deltas, not streamed", body=says(200), count=20),
)
