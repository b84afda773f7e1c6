"""The command as a user runs it: a process of its own on a free port."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from types import MappingProxyType

from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]

READY = r"Ready at (\S+)/responses"

ATTEMPTS = 3
"""The command finds a free port and binds it a moment later: another process may have been faster."""


@contextmanager
def served(*target: str, folder: Path = ROOT, **variables: str) -> Generator[str]:
    """Run `hostedagent run` and give its URL; at the end the process is told to stop and must do so with code 0.

    Args:
        *target: What it serves, and further options.
        folder: The folder in which it runs.
        **variables: Variables of its environment.
    """
    command = [sys.executable, "-m", "hostedagent", "run", *target, "--port", "0"]
    with _running(command, READY, folder=folder, variables=variables) as url:
        yield url


class Restarted:
    """A server that is killed and started again at the same address, in a folder where its stores are.

    The folder is also its home: the SDK lists background turns there, and any other server that starts with the same
    home while this one is away takes them, finds no response of theirs, and drops them.

    Args:
        target: What it serves.
        folder: The folder in which it runs.
    """

    def __init__(self, target: Path, folder: Path) -> None:
        self._command = [sys.executable, "-m", "hostedagent", "run", str(target), "--port"]
        self._folder = folder
        self._home = {"HOME": str(folder), "USERPROFILE": str(folder)}
        self._process, self.url = _start([*self._command, "0"], READY, folder, self._home)
        self._held: socket.socket | None = None

    @property
    def port(self) -> int:
        """Its port, which no other process gets while it is away."""
        return int(self.url.rpartition(":")[2])

    def crash(self) -> None:
        """End it as a crash does, to start it again."""
        self._kill()
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind(
            ("127.0.0.1", self.port)
        )  # Without listening: the server may bind it too, and nothing else does.

    def start(self) -> None:
        """Start it again after a crash."""
        self._process, _ = _start([*self._command, str(self.port)], READY, self._folder, self._home)
        self._release()

    def end(self) -> None:
        """End it for good."""
        self._kill()
        self._release()

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait(timeout=PATIENCE)

    def _release(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None


@contextmanager
def served_by_uvicorn(app: str) -> Generator[str]:
    """Run uvicorn, as an application does that has its own routes; it ends with the signal that it was sent."""
    command = [sys.executable, "-m", "uvicorn", app, "--port", "0"]
    with _running(command, r".*Uvicorn running on (\S+)", code=-signal.SIGTERM) as url:
        yield url


@contextmanager
def _running(
    command: list[str], ready: str, *, code: int = 0, folder: Path = ROOT, variables: Mapping[str, str] | None = None
) -> Generator[str]:
    process, url = _start(command, ready, folder, variables=variables or {})
    try:
        yield url
    finally:
        process.terminate()
        try:
            ended = process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert ended == code, f"the server ended with {ended}"


def _start(
    command: list[str], ready: str, folder: Path = ROOT, variables: Mapping[str, str] = MappingProxyType({})
) -> tuple[subprocess.Popen[str], str]:
    said = ""
    for _ in range(ATTEMPTS):
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **variables},
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
                # What it prints later is read too: a pipe that is full would stop it.
                Thread(target=process.stdout.read, daemon=True).start()
                return process, found[1]
        process.wait(timeout=PATIENCE)
        if "is in use" not in said:
            break
    raise AssertionError(f"the server did not start:\n{said}")
