"""A profile of a case: the share of each owner in a system's CPU, and the functions that take most of it."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from environments import HERE, System
from loads import Load
from processes import Served, serving

OWNERS: Final = ("ours", "peer", "SDK", "agent framework", "server and event loop", "telemetry", "model")
_WAIT_SECONDS: Final = 30.0


def profile(case: Load, systems: Sequence[System], runs: int, share: float, *, lines: int) -> str:
    """Profile systems on one case.

    Args:
        case: The case.
        systems: The systems.
        runs: How often the case's load is sent.
        share: Less than 1 sends less.
        lines: How many functions of each system to name.
    """
    owners: dict[System, Counter[str]] = {}
    functions: dict[System, Counter[str]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="benchmark-profile-")))
        for system in systems:
            out = folder / f"{system}.json"
            served = stack.enter_context(serving(system, case.setting, str(HERE / "served" / "sampler.py"), str(out)))
            case.measure(served, share)
            found = _looks(case, served, out, runs, share)
            owners[system], functions[system] = Counter(found["owners"]), Counter(found["lines"])
    return _table(case, owners) + _functions(functions, owners, lines)


def _looks(case: Load, served: Served, out: Path, runs: int, share: float) -> dict[str, dict[str, int]]:
    served.signal(signal.SIGUSR1)
    for _ in range(runs):
        case.measure(served, share)
    served.signal(signal.SIGUSR2)
    deadline = time.monotonic() + _WAIT_SECONDS
    while not out.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{served.system} wrote no profile")
        time.sleep(0.05)
    return json.loads(out.read_text())


def _table(case: Load, owners: dict[System, Counter[str]]) -> str:
    systems = list(owners)
    lines = [
        "",
        f"**Profile of {case.title}** (`{case.name}`, share of the looks at the stack)",
        "",
        "| | " + " | ".join(systems) + " |",
        "|---|" + "---|" * len(systems),
    ]
    for owner in OWNERS:
        cells = [f"{counts[owner] / max(counts.total(), 1):.1%}" for counts in owners.values()]
        if any(counts[owner] for counts in owners.values()):
            lines.append(f"| {owner} | " + " | ".join(cells) + " |")
    lines.append("| looks | " + " | ".join(f"{counts.total():,}" for counts in owners.values()) + " |")
    return "\n".join(lines) + "\n"


def _functions(functions: dict[System, Counter[str]], owners: dict[System, Counter[str]], lines: int) -> str:
    said: list[str] = []
    for system, counts in functions.items():
        if lines:
            said += ["", f"{system}:", ""]
        total = max(owners[system].total(), 1)
        said += [f"- {count / total:.1%} {name}" for name, count in counts.most_common(lines)]
    return "\n".join(said) + "\n"
