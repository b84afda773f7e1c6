"""Runs the SDK's own tests with hosts of hostedagent in the place of the SDK's, and compares what came of it.

`python -m tests.sdk_suite [responses|invocations ...] [--driver agentserver|starlette]` prints how many tests
passed and how many differ in what, as `differences.toml` lists it. It fails for any other test that fails, and for a
difference that is there no more.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from .differences import SUITES, Difference, differences
from .running import DRIVERS, run


def compare(suite: str, driver: str) -> int:
    """Run a suite on a driver, print what came of it, and return how many tests ended unexpectedly."""
    listed = differences(suite, driver)
    outcomes = run(suite, driver)
    counts: Counter[Difference] = Counter()
    wrong = 0
    for test, outcome in sorted(outcomes.items()):
        difference = next((one for one in listed if one.covers(test)), None)
        if outcome == "failed" and difference is not None:
            counts[difference] += 1
        elif outcome == "failed":
            wrong += 1
            print(f"{suite}, {driver}: FAILED {test}", flush=True)
    for one in listed:
        if not counts[one] and not one.is_replaced:
            wrong += 1
            print(f"{suite}, {driver}: there is no difference any more: {one.about}", flush=True)
    passed = sum(outcome == "passed" for outcome in outcomes.values())
    skipped = sum(outcome == "skipped" for outcome in outcomes.values())
    print(f"{suite}, {driver}: {passed} passed, {sum(counts.values())} differ, {skipped} skipped, {wrong} unexpected")
    for one, count in counts.items():
        print(f"  {count:4}  {one.about}")
    sys.stdout.flush()
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.sdk_suite", description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[*SUITES, []], help="which suites; all by default")
    parser.add_argument("--driver", choices=DRIVERS, help="which driver; both by default")
    given = parser.parse_args(arguments)
    drivers = [given.driver] if given.driver else list(DRIVERS)
    wrong = sum(compare(suite, driver) for suite in given.suites or SUITES for driver in drivers)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
