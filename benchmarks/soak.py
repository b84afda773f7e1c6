"""A long soak on each store and driver, as a table: `python -m benchmarks.soak [--at-once 4] [--store sqlite]`.

A quarter of an hour for each of the eight, as many at the same time as `--at-once` says. `--driver` chooses a driver.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.postgres.server import postgres_dsn
from tests.soak.backends import DRIVERS, SUBJECTS, Subject
from tests.soak.load import Outcome, as_json, run, table
from tests.soak.process import MAX_TURNS
from tests.stores import KINDS


def soak(subject: Subject, seed: int, seconds: float, pace: float | None) -> Outcome:
    """One server, in a folder of its own."""
    print(f"{subject}: begins", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(subject, Path(folder), seed=seed, turns=MAX_TURNS, seconds=seconds, pace=pace)
    print(f"{subject}: {'clean' if outcome.is_clean(MAX_TURNS) else 'NOT CLEAN'}", file=sys.stderr)
    return outcome


def main() -> int:
    """Run the soak; the exit code says whether anything was left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=900.0, help="of load for each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="how many servers at the same time")
    parser.add_argument("--pace", type=float, metavar="N", help="actions a second for each; by default as many as fit")
    parser.add_argument("--store", choices=KINDS, action="append", help="by default each")
    parser.add_argument("--driver", choices=DRIVERS, action="append", help="by default each")
    parser.add_argument("--json", type=Path, help="write everything that was seen to a file")
    given = parser.parse_args()
    subjects = [it for it in SUBJECTS if it.store in (given.store or KINDS) and it.driver in (given.driver or DRIVERS)]
    if any(subject.store == "postgres" for subject in subjects):
        postgres_dsn()  # Started once, before several ask for it.
    with ThreadPoolExecutor(given.at_once) as pool:
        seen = list(pool.map(partial(soak, seed=given.seed, seconds=given.seconds, pace=given.pace), subjects))
    outcomes = dict(zip(subjects, seen, strict=True))
    print(table(outcomes))
    if given.json is not None:
        rows = (f'"{subject}": {as_json(outcome)}' for subject, outcome in outcomes.items())
        given.json.write_text("{" + ",\n".join(rows) + "}")
    for subject, outcome in outcomes.items():
        for line in (*outcome.errors, *outcome.stray, *outcome.files)[:20]:
            print(f"{subject}: {line}", file=sys.stderr)
        print(f"{subject}: objects more at the end than at half time: {outcome.grown}", file=sys.stderr)
    return 0 if all(outcome.is_clean(MAX_TURNS) for outcome in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
