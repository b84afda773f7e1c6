"""Ratios in Markdown: the median over the runs, with the smallest and the largest beside it."""

from __future__ import annotations

import statistics
from typing import Final, TypeAlias

from cases import Load
from environments import System

Runs: TypeAlias = list[dict[System, dict[str, float]]]

QUANTITIES: Final = {
    "cpu": "CPU of the server, ms a request",
    "per_second": "requests a second",
    "p50": "ms to the end, p50",
    "p99": "ms to the end, p99",
    "first_p50": "ms to the first delta, p50",
    "first_p99": "ms to the first delta, p99",
}


def table(case: Load, runs: Runs) -> str:
    systems = list(runs[0])
    base = systems[-1]
    lines = [
        "",
        f"**{case.title}** (`{case.name}`, {len(runs)} runs, {base} = 1)",
        "",
        "| | " + " | ".join(systems) + f" | {base}, absolute |",
        "|---|" + "---|" * (len(systems) + 1),
    ]
    for quantity in case.shows:
        absolute = statistics.median(run[base][quantity] for run in runs)
        cells = [ratio([run[system][quantity] / run[base][quantity] for run in runs]) for system in systems]
        lines.append(f"| {QUANTITIES[quantity]} | " + " | ".join(cells) + f" | {absolute:.2f} |")
    return "\n".join(lines)


def ratio(found: list[float]) -> str:
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"
