"""Shows at a terminal what takes longer than a second."""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.status import Status

PATIENCE_SECONDS: Final = 1.0


@contextmanager
def progress(what: str, *, after: float = PATIENCE_SECONDS) -> Generator[None]:
    """Show a line with a spinner on standard error while the block runs; nothing if that is not a terminal.

    Args:
        what: The activity, for example `"Making requirements.lock"`.
        after: Seconds before it is shown.
    """
    if not sys.stderr.isatty():
        yield
        return
    shown: list[Status] = []

    def show() -> None:
        from rich.console import Console

        status = Console(stderr=True).status(f"{what} ...")
        status.start()
        shown.append(status)

    timer = threading.Timer(after, show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        for status in shown:
            status.stop()
