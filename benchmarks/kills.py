"""Kill -9 in a running conversation on sqlite: `python -m benchmarks.kills [--kills 100] [--seed 1]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.kills import kill_often


def main() -> int:
    """Kill and count; the exit code says whether anything was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        seen = kill_often(Path(folder) / "state.db", given.kills, seed=given.seed)
    print(
        f"{seen.kills} kills, {len(seen.told)} turns told, {len(seen.untold)} cut off, of which {seen.kept} had been "
        f"stored; {len(seen.wrong)} mistakes; {time.monotonic() - began:.0f} s"
    )
    for line in seen.wrong[:20]:
        print(line, file=sys.stderr)
    return 1 if seen.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
