"""A command in a terminal of its own: what a person sees and types."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.patience import PATIENCE


class Terminal:
    """The screen and the keys of one command.

    Args:
        process: The command.
        descriptor: Our end of its terminal.
    """

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self.seen = ""
        self._past = 0
        self._descriptor = descriptor

    def see(self, text: str) -> None:
        """Wait until a text was printed after the last one that was waited for."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.seen.find(text, self._past)) < 0:
            assert self._read(deadline - time.monotonic()), f"{text!r} did not come:\n{self.seen}"
        self._past = found + len(text)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._descriptor, keys.encode())

    def ended(self) -> int:
        """Wait for the end of the command, and return its exit code."""
        while self._read(PATIENCE):
            pass
        return self.process.wait(timeout=PATIENCE)

    def _read(self, seconds: float) -> bool:
        """Read what is printed next; `False` at the end."""
        ready, _, _ = select.select([self._descriptor], [], [], max(seconds, 0))
        try:
            data = os.read(self._descriptor, 65536) if ready else b""
        except OSError:  # How Linux reports the end of a terminal.
            data = b""
        self.seen += data.decode(errors="replace")
        return bool(data)


@contextmanager
def terminal(arguments: Sequence[str], *, home: Path) -> Generator[Terminal]:
    """Run Python with arguments in a terminal of 80 columns."""
    pty = pytest.importorskip("pty", reason="no terminals on this system")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "HOME": str(home), "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
        start_new_session=True,
        preexec_fn=_control,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _control() -> None:
    """Make the terminal the one whose keys send signals, also if the tests run in the background, without signals."""
    import fcntl
    import signal
    import termios

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
