"""The process of hostile agents, as a test sees it."""

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.stores import CHOSEN

PROJECT: Final = Path(__file__).parents[2]

STORES: Final = "HOSTILE_STORES"
"""The variable that names the stores to the process, as JSON."""


@contextmanager
def serving(log: Path, *arguments: str) -> Generator[tuple[str, subprocess.Popen[str]]]:
    """Serve, and log to a file; gives the URL, and the process, which is killed if it has not ended."""
    with log.open("w") as errors, ExitStack() as stack:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.process", *arguments],
            cwd=PROJECT,
            env={**os.environ, STORES: _stores(log, stack)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()
            process.wait()


def _stores(log: Path, stack: ExitStack) -> str:
    """The stores that the run was started with, as the process reads them."""
    match CHOSEN.kind:
        case "sqlite":
            return json.dumps({"sqlite": str(log.with_name("state.db"))})
        case "postgres":
            from tests.postgres.server import postgres_dsn, schema

            return json.dumps({"postgres": postgres_dsn(), "schema": stack.enter_context(schema())})
        case _:
            return json.dumps({})
