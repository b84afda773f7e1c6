"""The process of hostile agents, as a test sees it."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[2]


@contextmanager
def serving(log: Path, *arguments: str) -> Generator[tuple[str, subprocess.Popen[str]]]:
    """Serve, and log to a file; gives the URL, and the process, which is killed if it has not ended."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.process", *arguments],
            cwd=PROJECT,
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
