"""A long soak on each store, as a table: `python -m benchmarks.soak [--seconds 900] [--seed 1] [STORE ...]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.soak.load import Outcome, as_json, run, table
from tests.soak.process import MAX_TURNS, STORES


def main() -> int:
    """Run the soak; the exit code says whether anything was left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=900.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="Write everything that was seen to a file.")
    parser.add_argument("stores", nargs="*", choices=[*STORES, []], default=list(STORES), metavar="STORE")
    given = parser.parse_args()
    outcomes: dict[str, Outcome] = {}
    for store in given.stores:
        with tempfile.TemporaryDirectory() as folder:
            outcomes[store] = run(store, Path(folder), seed=given.seed, turns=MAX_TURNS, seconds=given.seconds)
        if given.json is not None:
            given.json.write_text("\n".join(as_json(outcome) for outcome in outcomes.values()))
    print(table(outcomes))
    for store, outcome in outcomes.items():
        for line in (*outcome.errors, *outcome.stray)[:20]:
            print(f"{store}: {line}", file=sys.stderr)
    return 0 if all(outcome.is_clean(MAX_TURNS) for outcome in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
