"""What this project wants of itself, as ratios, and what a run found: one table at the end of a run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cases import CASES
from environments import SYSTEMS, System
from report import numbers, ratios, short
from rows import Round


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One goal.

    Args:
        says: What is wanted.
        case: The case that measures it.
        row: The label of the row.
        at_most: The limit.
        of: The system that it is for.
        beyond: The system whose number is taken away first.
        is_floor: Whether the limit is one from below.
    """

    says: str
    case: str
    row: str
    at_most: float
    of: System = "ours"
    beyond: System | None = None
    is_floor: bool = False


_CPU: Final = "CPU of the server, ms a request"
_FIRST: Final = "ms to the first delta, "
_LONG: Final = "the same system: 10,000 against 1,000 deltas"
_READY: Final = "CPU ms to readiness, with bytecode"
_AT_REST: Final = "resident MiB at rest"
_LATE: Final = "CPU of turn 200, ms"

_CPU_OF: Final[Mapping[str, tuple[str, float, float]]] = {
    "stream-1000": ("stream of 1,000 deltas, never waiting", 0.22, 0.16),
    "paced": ("deltas paced at 5 ms", 0.71, 0.45),
    "stored-50": ("stored stream of 50 at concurrency 16", 0.41, 0.25),
    "short-1": ("short answer, not streamed", 0.58, 0.20),
    "short-64": ("short answers at concurrency 64", 0.62, 0.20),
    "whole-200": ("200 deltas, not streamed", 0.25, 0.05),
    "tool": ("one tool call, not streamed", 0.69, 0.30),
    "input-1mb": ("1 MB of input", 0.97, 0.40),
    "input-400": ("400 messages of input", 1.07, 0.45),
}
"""The CPU of a case as a share of the peer's: for ours what version 0.1.0 took at most, and for own."""

_HOSTS: Final[tuple[System, ...]] = ("ours", "own")
_FIRST_OF: Final[tuple[tuple[System, str, float], ...]] = (
    ("ours", "p50", 0.8),
    ("ours", "p99", 0.8),
    ("own", "p50", 0.55),
    ("own", "p99", 0.35),
)

GOALS: Final = (
    *(Goal(says=f"CPU, {says}", case=case, row=_CPU, at_most=at_most) for case, (says, at_most, _) in _CPU_OF.items()),
    *(
        Goal(says=f"CPU, {says}", case=case, row=_CPU, at_most=at_most, of="own")
        for case, (says, _, at_most) in _CPU_OF.items()
    ),
    Goal(says="CPU beyond the agent alone", case="stream-1000", row=_CPU, at_most=0.08, beyond="agent"),
    Goal(says="CPU beyond the agent alone", case="stream-1000", row=_CPU, at_most=0.02, of="own", beyond="agent"),
    Goal(says="CPU beyond the agent alone, paced", case="paced", row=_CPU, at_most=0.42, beyond="agent"),
    Goal(says="CPU a delta at 10,000 against 1,000", case="deltas", row=_LONG, at_most=1.0),
    Goal(says="CPU a delta at 10,000 against 1,000, stored", case="deltas-stored", row=_LONG, at_most=1.0),
    *(
        Goal(says=f"first delta, {says}, {part}", case=case, row=f"{_FIRST}{part}", at_most=at_most, of=of)
        for case, says in (("stored-50", "stored, concurrency 16"), ("paced", "paced, concurrency 16"))
        for of, part, at_most in _FIRST_OF
    ),
    *(
        Goal(says="no delta held back", case="paced-alone", row="delta events a word", at_most=1, of=of, is_floor=True)
        for of in _HOSTS
    ),
    Goal(says="response store trips", case="trips", row="response store round trips a turn", at_most=4),
    Goal(says="state store trips", case="trips", row="state store round trips a turn", at_most=2),
    Goal(says="storage wait at 5 ms", case="trips", row="storage wait of a turn at 5 ms, ms", at_most=40),
    Goal(says="cold start, CPU", case="start", row=_READY, at_most=0.45),
    Goal(says="cold start, CPU", case="start", row=_READY, at_most=0.38, of="own"),
    Goal(says="cold start, as shipped, CPU", case="start-shipped", row=_READY, at_most=0.37),
    Goal(says="cold start, as shipped, CPU", case="start-shipped", row=_READY, at_most=0.30, of="own"),
    Goal(says="resident memory at rest", case="start", row=_AT_REST, at_most=0.67),
    Goal(says="resident memory at rest", case="start", row=_AT_REST, at_most=0.60, of="own"),
    Goal(says="resident memory at rest, as shipped", case="start-shipped", row=_AT_REST, at_most=0.65),
    Goal(says="turn 200 in memory", case="chain-memory", row=_LATE, at_most=0.96),
    Goal(says="turn 200 in memory", case="chain-memory", row=_LATE, at_most=0.35, of="own"),
    Goal(says="turn 200 on disk", case="chain-sqlite", row=_LATE, at_most=0.78),
    Goal(says="turn 200 on Foundry", case="chain-foundry", row=_LATE, at_most=0.57),
    Goal(
        says="memory after 10,000 streamed turns against 1,000",
        case="growth",
        row="the same system: after 10,000 against after 1,000",
        at_most=1.1,
    ),
)


def verdicts(found: Mapping[str, Sequence[Round]]) -> str:
    """The goals that the run has measured."""
    lines: list[str] = []
    for goal in GOALS:
        rounds = found.get(goal.case, ())
        if rounds and goal.of in rounds[0] and (value := _value(goal, rounds)) is not None:
            missed = value < goal.at_most if goal.is_floor else value > goal.at_most
            bound = f"{'at least' if goal.is_floor else 'at most'} {goal.at_most:g}"
            cells = (goal.of, goal.says, f"`{goal.case}`", bound, short(value), "missed" if missed else "")
            lines.append(f"| {' | '.join(cells)} |")
    head = ["", "**Goals**", "", "| | | case | goal | found | |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *lines]) if lines else ""


def _value(goal: Goal, rounds: Sequence[Round]) -> float | None:
    row = next(row for row in CASES[goal.case].rows if row.label == goal.row)
    base: System = next(system for system in reversed(SYSTEMS) if system in rounds[0])
    if goal.beyond is not None and goal.beyond not in rounds[0]:
        return None
    measured, other = (
        (ratios(row, rounds, system, base) if row.is_ratio else numbers(row, rounds, system)) if system else []
        for system in (goal.of, goal.beyond)
    )
    if not measured:
        return None
    return statistics.median(measured) - (statistics.median(other) if other else 0)
