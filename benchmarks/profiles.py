"""Whose code takes the CPU: the share of each owner in the looks that `served/sampler.py` takes at a system's stack."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from environments import HERE, System
from loads import LOADS, Load
from processes import Served, serving
from rows import Measured, Row, plain

OWNERS: Final = ("ours", "peer", "SDK", "agent framework", "server and event loop", "telemetry", "model")
_WAIT_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The profile of a load.

    Args:
        load: The load.
        seconds: How much CPU a system must have used for one measurement: it is looked at 250 times a second or less.
        systems: The systems to look into.
        functions: Filled with the looks at each function, by system.
    """

    load: Load
    seconds: float = 6.0
    systems: tuple[System, ...] = ("ours", "own", "sdk", "peer")
    most_runs: int | None = None
    functions: dict[System, Counter[str]] = field(default_factory=dict[System, "Counter[str]"])
    rows: tuple[Row, ...] = tuple(plain(f"{owner}, % of the CPU", owner) for owner in OWNERS)

    @property
    def name(self) -> str:
        return f"profile-{self.load.name}"

    @property
    def title(self) -> str:
        return f"whose code takes the CPU: {self.load.title}"

    @contextmanager
    def open(self, system: System, share: float) -> Generator[Callable[[], Measured]]:
        sampler = str(HERE / "served" / "sampler.py")
        with serving(system, self.load.setting, sampler) as served:
            self.load.measure(served, share)
            yield lambda: self._measure(served, share)

    def _measure(self, served: Served, share: float) -> Measured:
        out = served.folder / "looks.json"
        out.unlink(missing_ok=True)
        served.signal(signal.SIGUSR1)
        start = served.cpu
        while served.cpu - start < self.seconds * share:
            self.load.measure(served, share)
        served.signal(signal.SIGUSR2)
        found = _read(out)
        owners, functions = Counter[str](found["owners"]), Counter[str](found["lines"])
        self.functions[served.system] = self.functions.get(served.system, Counter()) + functions
        return {owner: 100 * looks / owners.total() for owner, looks in owners.items()}

    def busiest(self, lines: int) -> str:
        """The functions that took most, of each system."""
        said: list[str] = []
        for system, functions in self.functions.items():
            said += ["", f"{system}:", ""]
            said += [f"- {looks / functions.total():.1%} {name}" for name, looks in functions.most_common(lines)]
        return "\n".join(said)


def _read(out: Path) -> Mapping[str, Any]:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not out.exists():
        if time.monotonic() > deadline:
            raise RuntimeError("there is no profile")
        time.sleep(0.05)
    return json.loads(out.read_text())


_PROFILED: Final = ("stream-1000", "paced", "stored-50", "short-1")

PROFILES: Final = tuple(Profile(load=load) for load in LOADS if isinstance(load, Load) and load.name in _PROFILED)
