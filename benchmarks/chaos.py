"""Everything breaks: `python -m benchmarks.chaos [--conversations 200] [--seconds 300] [--replicas 3] [--lease 4]`."""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.chaos.run import WAYS, missing, run


def main() -> int:
    """Talk, break and count; the exit code says whether anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--turns", type=int, default=1_000)
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--lease", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=WAYS, default=WAYS, help="what is broken (default: everything)")
    given = parser.parse_args()
    if (lacks := missing()) is not None:
        print(lacks, file=sys.stderr)
        return 2
    report = asyncio.run(run(**vars(given)))
    print("\n".join(report.lines()))
    found = [*report.wrong, *report.slow]
    for line in found[:40]:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
