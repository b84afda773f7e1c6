"""`hostedagent run --reload`: runs the server in a process of its own and restarts it when a Python file changes."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Collection
from pathlib import Path

from hostedagent.cli.loader import Target
from hostedagent.cli.startup import StartError


def run_again(arguments: list[str], target: Target) -> int:
    """Serve, and restart after each change, until Ctrl+C or SIGTERM."""
    try:
        from watchfiles import PythonFilter, run_process
    except ImportError as error:
        raise StartError("packages", "--reload needs watchfiles: pip install watchfiles", code=2) from error
    command = [sys.executable, "-m", "hostedagent", *arguments]
    folders = {Path.cwd(), Path(target.place).resolve().parent} if target.is_file else {Path.cwd()}
    logging.getLogger("watchfiles").setLevel(logging.ERROR)  # It would report intended signals.
    run_process(
        *_outermost(folders),
        target=shlex.join(command),
        target_type="command",
        watch_filter=PythonFilter(extra_extensions=(".env",)),
        callback=lambda changes: print(_changed(changes), flush=True),
    )
    return 0


def _outermost(folders: Collection[Path]) -> list[Path]:
    return [folder for folder in folders if not any(other in folder.parents for other in folders)]


def _changed(changes: Collection[tuple[object, str]]) -> str:
    names = sorted({Path(path).name for _, path in changes})
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"Changed: {', '.join(names[:3])}{more}. Starting again."
