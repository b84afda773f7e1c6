"""Measures `hostedagent` beside other hosts: `uv run python benchmarks/run.py [case ...]`.

Every system runs in a process of its own; the runs are interleaved, and what counts are ratios, because the times of
one machine mean nothing on another. A ratio is the median over the runs, with the smallest and the largest beside it.

ours: `hostedagent` on the SDK's host; own: `hostedagent` on its own routes; sdk: the bare SDK host with the same events
and no agent; thin: the thinnest adapter on it; agent: the agent alone; floor: the same bytes from a bare endpoint that
runs no agent; helpers: `agent-framework-hosting-responses`; peer: `agent-framework-foundry-hosting`.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import cast

from cases import CASES
from environments import SYSTEMS, System, versions
from goals import verdicts
from loads import Load
from profiles import Profile
from report import into, table
from rows import Case, Measured, Round


def measured(case: Case, systems: Sequence[System], runs: int, share: float) -> list[Round]:
    """Get the systems ready side by side, and measure each in every round."""
    with ExitStack() as stack:
        ready: list[tuple[System, Callable[[], Measured]]] = [
            (system, stack.enter_context(case.open(system, share))) for system in systems
        ]
        rounds: list[Round] = []
        for number in range(runs):
            turned = ready[number % len(ready) :] + ready[: number % len(ready)]
            rounds.append(_round(turned))
            print(".", end="", flush=True, file=sys.stderr)
        print(f" {case.name}", file=sys.stderr)
        return rounds


def _round(ready: Sequence[tuple[System, Callable[[], Measured]]]) -> Round:
    return {system: measure() for system, measure in ready}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="*", help="the cases to run; all by default")
    parser.add_argument("--list", action="store_true", help="say which cases there are")
    parser.add_argument("--runs", type=int, help="runs of each case; by default 7, fewer where one takes minutes")
    parser.add_argument("--quick", action="store_true", help="a tenth of the load: whether it works, not how fast")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="of %(default)s")
    parser.add_argument("--profile", action="store_true", help="profile the cases named: whose code takes the CPU")
    parser.add_argument("--lines", type=int, default=0, help="in profiles: name so many functions of each system")
    parser.add_argument("--into", type=Path, help="a document whose tables are replaced, as docs/performance.md")
    given = parser.parse_args()
    unknown = [*({*given.case} - {*CASES}), *({*given.systems.split(",")} - {*SYSTEMS})]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}")
    return given


def main() -> None:
    given = arguments()
    if given.list:
        for case in CASES.values():
            print(f"{case.name:20} {case.title}")
        return
    tables: list[str] = []

    def say(text: str) -> None:
        print(text, flush=True)
        tables.append(text)

    wanted = cast("list[System]", given.systems.split(","))
    say("\n".join(f"- {system}: {', '.join(found)}" for system, found in versions(wanted).items()))
    say(f"- Python {platform.python_version()}, {os.cpu_count()} processors")
    results: dict[str, list[Round]] = {}
    for case in chosen(given):
        systems: list[System] = [system for system in case.systems if system in wanted]
        if systems:
            runs = given.runs or min(case.most_runs or 7, 7)
            results[case.name] = measured(case, systems, runs, 0.1 if given.quick else 1.0)
            say(table(case, results[case.name]))
            if isinstance(case, Profile) and given.lines:
                say(case.busiest(given.lines))
    if "peer" in wanted:
        say(verdicts(results))
    if given.into:
        into(given.into, "\n".join(tables))


def chosen(given: argparse.Namespace) -> list[Case]:
    """The cases that the command line names."""
    cases = [CASES[name] for name in given.case or CASES]
    return [Profile(load=case) for case in cases if isinstance(case, Load)] if given.profile else cases


if __name__ == "__main__":
    main()
