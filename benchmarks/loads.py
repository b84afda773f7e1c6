"""Cases that send requests to a running server: the CPU it takes, how many it answers, how long they take."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from client import Answer, Request, load
from environments import SYSTEMS, System
from processes import Served, Setting, serving
from rows import Measured, Row, against_base, growth, plain

HTTP_SYSTEMS: Final[tuple[System, ...]] = ("ours", "own", "sdk", "helpers", "peer")
"""The systems that speak the protocol and are more than a sketch."""

HTTP_AND_AGENT: Final[tuple[System, ...]] = ("ours", "own", "sdk", "agent", "floor", "helpers", "peer")

CPU: Final = against_base("CPU of the server, ms a request", "cpu")
FIRST: Final = (
    against_base("ms to the first delta, p50", "first_p50"),
    against_base("ms to the first delta, p99", "first_p99"),
)
PACE: Final = (
    against_base("requests a second (more is better)", "per_second"),
    against_base("ms to the end, p50", "p50"),
    against_base("ms to the end, p99", "p99"),
)
EVENTS: Final = plain("delta events a word", "events")


def says(words: int, *, pause: int = 0, **more: Any) -> dict[str, Any]:
    """A request for so many words, with milliseconds between them."""
    return {"model": "words", "input": f"Please say words={words} pause={pause}", **more}


def sent(
    served: Served, body: Mapping[str, Any], count: int, concurrency: int = 1
) -> tuple[list[Answer], float, float]:
    """Send a request so many times: the answers, the seconds, and the server's CPU seconds."""
    requests = [Request.of(body)] * count
    before = served.cpu
    answers, seconds = asyncio.run(load(served.port, requests, concurrency=min(concurrency, count)))
    return answers, seconds, served.cpu - before


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A number of equal requests, so many at a time.

    Args:
        name: What it is called on the command line.
        title: What it is called in a table.
        body: The request.
        count: How many requests make one measurement.
        concurrency: How many are under way at any time.
        words: How many deltas an answer has, where the case counts them.
        setting: How the systems are served.
        systems: The systems that it is about.
        rows: What it shows.
    """

    name: str
    title: str
    body: Mapping[str, Any]
    count: int
    concurrency: int = 1
    words: int = 0
    setting: Setting = field(default_factory=Setting)
    systems: tuple[System, ...] = HTTP_AND_AGENT
    rows: tuple[Row, ...] = (CPU,)
    most_runs: int | None = None

    @contextmanager
    def open(self, system: System, share: float) -> Generator[Callable[[], Measured]]:
        with serving(system, self.setting) as served:
            self.measure(served, share / 2)
            yield lambda: self.measure(served, share)

    def measure(self, served: Served, share: float) -> Measured:
        """Send the load once."""
        count = max(round(self.count * share), min(self.concurrency, 2))
        answers, seconds, used = sent(served, self.body, count, self.concurrency)
        found = {
            "cpu": used / count * 1e3,
            "per_second": count / seconds,
            **quantiles("", [answer.seconds for answer in answers]),
            "resident": served.resident,
        }
        if first := [answer.first_delta for answer in answers if answer.first_delta]:
            found |= quantiles("first_", first)
        if self.words and first:
            found["events"] = statistics.mean(answer.deltas for answer in answers) / self.words
        return found


def quantiles(prefix: str, seconds: Sequence[float]) -> dict[str, float]:
    """The median and the 99th percentile, in milliseconds."""
    ordered = sorted(seconds)
    return {
        f"{prefix}p50": statistics.median(ordered) * 1e3,
        f"{prefix}p99": ordered[int(len(ordered) * 0.99)] * 1e3,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Deltas:
    """CPU for each delta of streams of different length, and whether long ones cost more."""

    name: str
    title: str
    store: bool
    systems: tuple[System, ...] = HTTP_AND_AGENT
    lengths: tuple[int, ...] = (100, 1_000, 10_000)
    most_runs: int | None = None

    @property
    def rows(self) -> tuple[Row, ...]:
        each = (against_base(f"µs a delta, {length:,} deltas", f"cpu_{length}") for length in self.lengths)
        longest = growth("the same system: 10,000 against 1,000 deltas", "cpu_10000", "cpu_1000")
        return (*each, longest, plain("delta events a word, 1,000 deltas", "events"))

    @contextmanager
    def open(self, system: System, share: float) -> Generator[Callable[[], Measured]]:
        with serving(system, Setting()) as served:
            self._measure(served, share / 10)
            yield lambda: self._measure(served, share)

    def _measure(self, served: Served, share: float) -> Measured:
        found: dict[str, float] = {}
        for length in self.lengths:
            words = max(round(length * share), 2)
            count = max(10_000 // length, 1)
            answers, _, used = sent(served, says(words, stream=True, store=self.store), count)
            found[f"cpu_{length}"] = used / count / words * 1e6
            if length == 1_000 and served.system != "agent":
                found["events"] = answers[0].deltas / words
        return found


STREAM: Final = {"stream": True, "store": False}


def _exchange(messages: int) -> list[dict[str, Any]]:
    earlier = [
        {"type": "message", "role": ("user", "assistant")[n % 2], "content": f"Message {n} of many."}
        for n in range(messages - 1)
    ]
    return [*earlier, {"type": "message", "role": "user", "content": "Please say words=10"}]


def _short(concurrency: int) -> Load:
    return Load(
        name=f"short-{concurrency}",
        title=f"short answer, stored, not streamed, concurrency {concurrency}",
        body=says(10),
        count=160 if concurrency == 1 else 320,
        concurrency=concurrency,
        systems=SYSTEMS if concurrency == 1 else HTTP_SYSTEMS,
        rows=(CPU, *PACE),
    )


LOADS: Final[tuple[Load | Deltas, ...]] = (
    Load(
        name="stream-1000",
        systems=SYSTEMS,
        title="stream of 1,000 deltas from a model that never waits, not stored",
        body=says(1000, **STREAM),
        count=12,
    ),
    Deltas(name="deltas", title="CPU for each delta, not stored", store=False),
    Deltas(name="deltas-stored", title="CPU for each delta, stored", store=True),
    Load(
        name="paced",
        systems=SYSTEMS,
        title="stream of 100 deltas, 5 ms apart, concurrency 16, not stored",
        body=says(100, pause=5, **STREAM),
        count=160,
        concurrency=16,
        words=100,
        rows=(CPU, *FIRST, EVENTS),
    ),
    Load(
        name="paced-alone",
        title="stream of 100 deltas, 5 ms apart, one at a time, not stored",
        body=says(100, pause=5, **STREAM),
        count=4,
        words=100,
        rows=(CPU, EVENTS),
    ),
    Load(
        name="paced-stored",
        title="stream of 100 deltas, 5 ms apart, concurrency 16, stored",
        body=says(100, pause=5, stream=True),
        count=48,
        concurrency=16,
        words=100,
        rows=(CPU, *FIRST, EVENTS),
    ),
    Load(
        name="stored-50",
        systems=SYSTEMS,
        title="stored stream of 50 deltas, concurrency 16, a model that never waits",
        body=says(50, stream=True),
        count=240,
        concurrency=16,
        rows=(CPU, *FIRST, PACE[0]),
    ),
    *(_short(concurrency) for concurrency in (1, 16, 64)),
    Load(name="whole-200", systems=SYSTEMS, title="200 deltas, stored, not streamed", body=says(200), count=40),
    Load(name="tool", title="one tool call, not streamed", body=says(10) | {"input": "words=10 tool"}, count=40),
    Load(
        name="input-1mb",
        title="1 MB of input",
        body={"model": "words", "input": "lorem ipsum " * 87_381 + "words=10"},
        count=12,
        rows=(CPU, PACE[0]),
    ),
    Load(
        name="input-400",
        title="400 messages of input",
        body={"model": "words", "input": _exchange(400)},
        count=12,
        rows=(CPU, PACE[0]),
    ),
    Load(
        name="slow-200",
        title="200 parallel streams of 20 deltas, 100 ms apart",
        body=says(20, pause=100, stream=True),
        count=200,
        concurrency=200,
        words=20,
        systems=HTTP_SYSTEMS,
        rows=(CPU, *FIRST, PACE[2], against_base("resident MiB afterwards", "resident"), EVENTS),
    ),
)
