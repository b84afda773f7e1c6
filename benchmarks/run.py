"""Measures `hostedagent` beside other hosts: `uv run python benchmarks/run.py [case ...]`.

Every system runs in a process of its own; the runs are interleaved, and only ratios are printed, because the times of one
machine mean nothing on another. A ratio is the median over the runs, with the smallest and the largest beside it.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from typing import cast

from cases import CASES, Load
from environments import SYSTEMS, System
from processes import Served, serving
from profiles import profile
from report import Runs, table


def measured(case: Load, systems: tuple[System, ...], runs: int, share: float) -> Runs:
    """Serve the systems side by side and measure each in every round."""
    with ExitStack() as stack:
        served: list[Served] = [stack.enter_context(serving(system, case.setting)) for system in systems]
        for one in served:
            case.measure(one, share / 2)
        found: Runs = []
        for number in range(runs):
            turned = served[number % len(served) :] + served[: number % len(served)]
            found.append({one.system: case.measure(one, share) for one in turned})
            print(".", end="", flush=True, file=sys.stderr)
        print(f" {case.name}", file=sys.stderr)
        return found


def main() -> None:
    named = {case.name: case for case in CASES}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="*", choices=[*named, []], help="the cases to run; all by default")
    parser.add_argument("--list", action="store_true", help="say which cases there are")
    parser.add_argument("--runs", type=int, default=7, help="runs of each case (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the load: whether it works, not how fast")
    parser.add_argument("--profile", action="store_true", help="say where the CPU goes, rather than how much there is")
    parser.add_argument("--lines", type=int, default=0, help="with --profile: name so many functions of each system")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="of %(default)s")
    given = parser.parse_args()
    if given.list:
        for case in CASES:
            print(f"{case.name:24} {case.title}")
        return
    wanted = cast("list[System]", given.systems.split(","))
    for name in given.case or named:
        case = named[name]
        systems = tuple(system for system in case.systems if system in wanted)
        share = 0.1 if given.quick else 1.0
        if given.profile:
            print(profile(case, systems, given.runs, share, lines=given.lines), flush=True)
        else:
            print(table(case, measured(case, systems, given.runs, share)), flush=True)


if __name__ == "__main__":
    main()
