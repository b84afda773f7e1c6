"""Installs, runs and records the client matrix: `python -m tests.clients_matrix install|run|record [NAME ...]`.

`install` creates environments, `run` tries the clients that are installed and prints every outcome, and `record`
writes what came of it to the table that `docs/clients.md` is generated from.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence

from . import results
from .clients import CLIENTS
from .environments import ENVIRONMENTS
from .features import FEATURES
from .matrix import play


def install(names: Sequence[str], *, is_quick: bool) -> int:
    """Create the environments of clients that have none."""
    wanted = {CLIENTS[name].environment.name for name in names} if names else set(ENVIRONMENTS)
    failed = 0
    for environment in ENVIRONMENTS.values():
        if environment.name not in wanted or (is_quick and not environment.is_quick):
            continue
        if environment.is_installed:
            print(f"{environment.name}: installed in {environment.path}", flush=True)
            continue
        print(f"{environment.name}: installing in {environment.path}", flush=True)
        try:
            environment.install()
        except (RuntimeError, OSError) as error:
            failed += 1
            print(f"{environment.name}: {error}", file=sys.stderr, flush=True)
    return 1 if failed else 0


def run(names: Sequence[str], features: Sequence[str], *, is_recorded: bool) -> int:
    """Try clients and print what came of it."""
    failed = 0
    for name in names or CLIENTS:
        client = CLIENTS[name]
        if not client.environment.is_installed:
            print(f"{name}: not installed")
            continue
        outcomes = asyncio.run(play(client, features))
        for outcome in outcomes:
            failed += outcome.verdict == "no"
            print(f"{name}: {outcome}", flush=True)
        if is_recorded:
            results.write(name, outcomes)
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients_matrix", description=__doc__)
    parser.add_argument("command", choices=("install", "run", "record"))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(CLIENTS)} (default: all of them)")
    parser.add_argument("--quick", action="store_true", help="install only those that CI runs")
    parser.add_argument(
        "--feature",
        action="append",
        default=[],
        choices=FEATURES,
        metavar="FEATURE",
        help="try only this feature; may be repeated",
    )
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in CLIENTS]:
        parser.error(f"no client is named {', '.join(unknown)}: choose from {', '.join(CLIENTS)}")
    if options.command == "install":
        return install(options.names, is_quick=options.quick)
    logging.disable(logging.ERROR)  # A case that fails is expected to log; the outcomes say more.
    return run(options.names, options.feature, is_recorded=options.command == "record")


if __name__ == "__main__":
    sys.exit(main())
