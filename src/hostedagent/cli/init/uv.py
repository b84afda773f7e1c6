"""Runs uv, if there is one, in bounded time."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from hostedagent.cli.progress import progress

TIMEOUT: Final = 300.0
"""Seconds that uv may take: it may have to fetch the metadata of a hundred packages over a slow line."""


class UvFailed(Exception):
    """uv is not there, or could not do it; the message says why, for the user."""


def run_uv(folder: Path, *arguments: str) -> None:
    """Run uv in a folder."""
    # Set by uv for what it runs itself, as `uv run` and `uvx` do.
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise UvFailed("uv is not installed: pip install uv")
    try:
        with progress(f"Running uv {' '.join(arguments[:2])}"):
            subprocess.run(
                [uv, *arguments, "--quiet"], cwd=folder, check=True, capture_output=True, text=True, timeout=TIMEOUT
            )
    except subprocess.CalledProcessError as error:
        raise UvFailed(f"uv said:\n{str(error.stderr).strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise UvFailed(f"uv took longer than {TIMEOUT:g} seconds.") from error
    except OSError as error:
        raise UvFailed(f"{uv} could not be run: {error}.") from error
