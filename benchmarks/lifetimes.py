"""Cases about the process itself: how soon it is ready, how large it is, and whether it grows."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Final

from environments import System
from loads import HTTP_SYSTEMS, says, sent
from processes import Setting, Store, serving, started
from rows import Measured, Row, against_base, growth


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """From the start of the process to `/readiness`."""

    name: str
    title: str
    ships_telemetry: bool
    systems: tuple[System, ...] = ("ours", "own", "sdk", "thin", "floor", "helpers", "peer")
    most_runs: int | None = None
    rows: tuple[Row, ...] = (
        against_base("ms to readiness, with bytecode", "ready"),
        against_base("CPU ms to readiness, with bytecode", "cpu"),
        against_base("ms to readiness, without bytecode", "ready_bare"),
        against_base("CPU ms to readiness, without bytecode", "cpu_bare"),
        against_base("resident MiB at rest", "resident"),
    )

    @contextmanager
    def open(self, system: System, share: float) -> Generator[Callable[[], Measured]]:
        self._once(system, ())
        yield lambda: self._measure(system)

    def _measure(self, system: System) -> Measured:
        ready, cpu, resident = self._once(system, ())
        with TemporaryDirectory(prefix="benchmark-bytecode-") as empty:
            bare = (("PYTHONPYCACHEPREFIX", empty), ("PYTHONDONTWRITEBYTECODE", "1"))
            ready_bare, cpu_bare, _ = self._once(system, bare)
        return {"ready": ready, "cpu": cpu, "ready_bare": ready_bare, "cpu_bare": cpu_bare, "resident": resident}

    def _once(self, system: System, environment: tuple[tuple[str, str], ...]) -> tuple[float, float, float]:
        setting = Setting(ships_telemetry=self.ships_telemetry, environment=environment)
        with started(system, setting) as (served, seconds):
            return seconds * 1e3, served.cpu * 1e3, served.resident


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How large a process is after a number of turns, each a conversation of its own.

    Args:
        name: What it is called on the command line.
        title: What it is called in a table.
        body: A turn.
        marks: After how many turns to look.
        store: Where the turns are stored. In files, what grows is what nobody lets go of.
        systems: The systems that it is about.
        most_runs: How many runs are enough.
    """

    name: str
    title: str
    body: dict[str, object]
    marks: tuple[int, int]
    store: Store
    systems: tuple[System, ...]
    most_runs: int | None = None

    @property
    def rows(self) -> tuple[Row, ...]:
        early, late = (f"{mark:,}" for mark in self.marks)
        return (
            *(against_base(f"resident MiB after {mark:,}", f"after_{mark}") for mark in self.marks),
            growth(f"the same system: after {late} against after {early}", *(f"after_{m}" for m in self.marks[::-1])),
        )

    @contextmanager
    def open(self, system: System, share: float) -> Generator[Callable[[], Measured]]:
        yield lambda: self._measure(system, share)

    def _measure(self, system: System, share: float) -> Measured:
        found: dict[str, float] = {}
        with serving(system, Setting(store=self.store)) as served:
            turns = 0
            for mark in self.marks:
                wanted = max(round(mark * share), turns + 1)
                sent(served, self.body, wanted - turns, 4)
                turns = wanted
                time.sleep(1)  # What is let go of a little after a turn's end is not counted.
                found[f"after_{mark}"] = served.resident
        return found


LIFETIMES: Final = (
    Start(name="start", title="cold start, the SDK's telemetry off", ships_telemetry=False),
    Start(name="start-shipped", title="cold start, as shipped", ships_telemetry=True),
    Growth(
        name="memory",
        title="resident memory, short answers in memory",
        body=says(10),
        marks=(10, 2_000),
        store="memory",
        systems=HTTP_SYSTEMS,
        most_runs=5,
    ),
    Growth(
        name="growth",
        title="resident memory, streamed turns of 20 deltas on disk",
        body=says(20, stream=True),
        marks=(1_000, 10_000),
        store="file",
        systems=("ours", "own", "sdk"),
        most_runs=5,
    ),
)
