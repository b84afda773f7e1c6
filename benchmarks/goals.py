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
    """One goal for ours.

    Args:
        says: What is wanted.
        case: The case that measures it.
        row: The label of the row.
        at_most: The limit.
        is_floor: Whether the limit is one from below.
    """

    says: str
    case: str
    row: str
    at_most: float
    is_floor: bool = False


_CPU: Final = "CPU of the server, ms a request"
_FIRST: Final = "ms to the first delta, "
_LONG: Final = "the same system: 10,000 against 1,000 deltas"
_BEYOND: Final = "the same, less what the bare SDK's turn grew by"

_OWN: Final = "ours, % of the CPU"

GOALS: Final = (
    Goal(says="CPU, stream of 1,000 deltas, never waiting", case="stream-1000", row=_CPU, at_most=0.25),
    Goal(says="CPU, deltas paced at 5 ms", case="paced", row=_CPU, at_most=0.80),
    Goal(says="CPU, stored stream of 50 at concurrency 16", case="stored-50", row=_CPU, at_most=0.45),
    Goal(says="CPU, short answer, not streamed", case="short-1", row=_CPU, at_most=0.60),
    Goal(says="CPU, 200 deltas, not streamed", case="whole-200", row=_CPU, at_most=0.40),
    Goal(says="CPU a delta at 10,000 against 1,000", case="deltas", row=_LONG, at_most=1.0),
    Goal(says="the same, stored", case="deltas-stored", row=_LONG, at_most=1.0),
    Goal(says="first delta, stored, concurrency 16, p50", case="stored-50", row=f"{_FIRST}p50", at_most=0.8),
    Goal(says="first delta, stored, concurrency 16, p99", case="stored-50", row=f"{_FIRST}p99", at_most=0.8),
    Goal(says="first delta, paced, concurrency 16, p50", case="paced", row=f"{_FIRST}p50", at_most=0.8),
    Goal(says="first delta, paced, concurrency 16, p99", case="paced", row=f"{_FIRST}p99", at_most=0.8),
    Goal(
        says="no delta held back",
        case="paced-alone",
        row="delta events a word",
        at_most=1,
        is_floor=True,
    ),
    Goal(says="response store trips", case="trips", row="response store round trips a turn", at_most=4),
    Goal(says="state store trips", case="trips", row="state store round trips a turn", at_most=2),
    Goal(says="storage wait at 5 ms", case="trips", row="storage wait of a turn at 5 ms, ms", at_most=40),
    Goal(says="cold start", case="start", row="ms to readiness, with bytecode", at_most=0.45),
    Goal(says="cold start, CPU", case="start", row="CPU ms to readiness, with bytecode", at_most=0.45),
    Goal(says="resident memory at rest", case="start", row="resident MiB at rest", at_most=0.65),
    Goal(says="cold start, as shipped", case="start-shipped", row="ms to readiness, with bytecode", at_most=0.45),
    Goal(says="cold start, shipped, CPU", case="start-shipped", row="CPU ms to readiness, with bytecode", at_most=0.45),
    Goal(says="resident memory at rest, as shipped", case="start-shipped", row="resident MiB at rest", at_most=0.65),
    Goal(says="turn 200 against turn 20, in memory", case="chain-memory", row=_BEYOND, at_most=1.5),
    Goal(says="turn 200 against turn 20, on disk", case="chain-disk", row=_BEYOND, at_most=1.5),
    Goal(says="turn 200 against turn 20, on Foundry", case="chain-foundry", row=_BEYOND, at_most=1.5),
    Goal(says="our own code, never waiting, %", case="profile-stream-1000", row=_OWN, at_most=15),
    Goal(says="our own code, paced, %", case="profile-paced", row=_OWN, at_most=15),
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
        if rounds and (value := _value(goal, rounds)) is not None:
            missed = value < goal.at_most if goal.is_floor else value > goal.at_most
            bound = f"{'at least' if goal.is_floor else 'at most'} {goal.at_most:g}"
            lines.append(f"| {goal.says} | `{goal.case}` | {bound} | {short(value)} | {'missed' if missed else ''} |")
    head = ["", "**Goals**", "", "| | case | goal | found | |", "|---|---|---|---|---|"]
    return "\n".join([*head, *lines]) if lines else ""


def _value(goal: Goal, rounds: Sequence[Round]) -> float | None:
    row = next(row for row in CASES[goal.case].rows if row.label == goal.row)
    base: System = next(system for system in reversed(SYSTEMS) if system in rounds[0])
    measured = ratios(row, rounds, "ours", base) if row.is_ratio else numbers(row, rounds, "ours")
    return statistics.median(measured) if measured else None
