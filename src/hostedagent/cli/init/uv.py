"""Runs uv, or pip where there is no uv, in bounded time: for the lock of a project, and for the wheel in it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from hostedagent.cli.group import CommandError
from hostedagent.cli.progress import progress
from hostedagent.templates import LOCK, LOCK_COMMAND

TIMEOUT: Final = 300.0
"""Seconds that uv may take: it may have to fetch the metadata of a hundred packages over a slow line."""


class UvFailed(Exception):
    """uv is missing, or it or pip failed; the message says why, for the user."""


def run_uv(folder: Path, *arguments: str) -> None:
    """Run uv in a folder."""
    uv = find_uv()
    if uv is None:
        raise UvFailed("uv is not installed: pip install uv")
    _run("uv", [uv], folder, arguments)


def find_uv() -> str | None:
    """The path of uv, if it is installed."""
    return os.environ.get("UV") or shutil.which("uv")  # uv sets the variable for what it runs, as `uv run` does.


def build_wheel(folder: Path, source: Path, target: str) -> None:
    """Build the wheel of a source folder with uv, or with pip if there is no uv."""
    if find_uv() is None:
        _run("pip", [sys.executable, "-m", "pip"], folder, ["wheel", "--no-deps", "--wheel-dir", target, str(source)])
    else:
        run_uv(folder, "build", "--wheel", "--out-dir", target, str(source))


def _run(name: str, command: list[str], folder: Path, arguments: Sequence[str]) -> None:
    call = [*command, *arguments, "--quiet"]
    try:
        with progress(f"Running {name} {' '.join(arguments[:2])}"):
            subprocess.run(call, cwd=folder, check=True, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.CalledProcessError as error:
        raise UvFailed(f"{name} said:\n{str(error.stderr).strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise UvFailed(f"{name} took longer than {TIMEOUT:g} seconds.") from error
    except OSError as error:
        raise UvFailed(f"{command[0]} could not be run: {error}.") from error


_PIN: Final = re.compile(r"^[A-Za-z0-9][\w.-]*==", re.MULTILINE)


def make_lock(folder: Path) -> str:
    """Make the lock of the project in a folder; returns the line that reports it."""
    try:
        run_uv(folder, *LOCK_COMMAND[1:])
    except UvFailed as error:
        command = shlex.join(LOCK_COMMAND)
        raise CommandError(
            f"There is no {LOCK} yet, and a deployment needs it. In the project's folder:\n  {command}\n{error}"
        ) from error
    packages = len(_PIN.findall((folder / LOCK).read_text(encoding="utf-8")))
    return f"Wrote {LOCK}: {packages} packages with their hashes."


WHEELS: Final = "wheels"


@dataclass(frozen=True, slots=True)
class Origin:
    """A wheel file, or the folder of a checkout: where no index may have hostedagent, the project brings its wheel."""

    path: Path


def installed_from() -> Origin | None:
    """The source of the installation; `None` for an index."""
    return origin_of(distribution("hostedagent").read_text("direct_url.json"))


def origin_of(direct_url: str | None) -> Origin | None:
    """Read what an installer leaves about a distribution that came from no index (PEP 610)."""
    url: str = json.loads(direct_url)["url"] if direct_url else ""
    parts = urlsplit(url)
    return Origin(Path(url2pathname(parts.path))) if parts.scheme == "file" else None


def bring_wheel(origin: Origin, folder: Path) -> str:
    """Put the wheel into the project in a folder; returns what to tell the user of it, or of why it is not there."""
    target = folder / WHEELS
    target.mkdir()
    try:
        if origin.path.is_dir():
            # Not straight into the project: uv also leaves a .gitignore there, by which the wheel would be lost.
            with tempfile.TemporaryDirectory() as made:
                build_wheel(folder, origin.path, made)
                for wheel in Path(made).glob("*.whl"):
                    shutil.copy(wheel, target)
        else:
            shutil.copy(origin.path, target)
    except (UvFailed, OSError) as error:
        command = shlex.join(["uv", "build", "--wheel", "--out-dir", WHEELS, str(origin.path)])
        return f"{WHEELS}/ lacks the wheel of hostedagent. In the project's folder:\n  {command}\n{error}"
    return f"Put the wheel of hostedagent into {WHEELS}/, because it was not installed from an index: {origin.path}"
