"""The command as a user runs it: a process of its own on a free port."""

from __future__ import annotations

import os
import re
import signal
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
    command = [sys.executable, "-m", "hostedagent", "run", target, "--port", "0"]
    with _running(command, r"Ready at (\S+)/responses") as url:
        yield url


@contextmanager
def served_by_uvicorn(app: str) -> Generator[str]:
    """Run uvicorn, as an application does that has its own routes; it ends with the signal that it was sent."""
    command = [sys.executable, "-m", "uvicorn", app, "--port", "0"]
    with _running(command, r".*Uvicorn running on (\S+)", code=-signal.SIGTERM) as url:
        yield url


@contextmanager
def _running(command: list[str], ready: str, *, code: int = 0) -> Generator[str]:
    process, url = _start(command, ready)
    try:
        yield url
    finally:
        process.terminate()
        try:
            ended = process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert ended == code, f"the server ended with {ended}"


def _start(command: list[str], ready: str) -> tuple[subprocess.Popen[str], str]:
    said = ""
    for _ in range(ATTEMPTS):
        process = subprocess.Popen(
            command,
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
            if (found := re.match(ready, line)) is not None:
                return process, found[1]
        process.wait(timeout=20)
        if "is in use" not in said:
            break
    raise AssertionError(f"the server did not start:\n{said}")
