"""The command as a user runs it: a process of its own on a free port."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]

ATTEMPTS = 3
"""The command finds a free port and binds it a moment later: another process may have been faster."""


@contextmanager
def served(target: str) -> Generator[str]:
    """Run `hostedagent run` and give its URL; at the end the process is told to stop and must do so with code 0."""
    process, url = _start(target)
    try:
        yield url
    finally:
        process.terminate()
        try:
            code = process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert code == 0, f"the server ended with {code}"


def _start(target: str) -> tuple[subprocess.Popen[str], str]:
    said = ""
    for _ in range(ATTEMPTS):
        process = subprocess.Popen(
            [sys.executable, "-m", "hostedagent", "run", target, "--port", "0"],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("Ready at "):
                return process, line.split()[2].removesuffix("/responses")
        process.wait(timeout=20)
        if "is in use" not in said:
            break
    raise AssertionError(f"the server did not start:\n{said}")
