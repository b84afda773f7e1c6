"""Makes the project's lock with uv: every package that the image installs, with its hashes and without any address."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

from hostedagent.cli.init.uv import UvFailed, run_uv
from hostedagent.templates import LOCK, LOCK_COMMAND

_PIN: Final = re.compile(r"^[A-Za-z0-9][\w.-]*==", re.MULTILINE)


class NoLock(Exception):
    """The lock could not be made; the message is for the user and names the command that makes it."""


def make_lock(folder: Path) -> str:
    """Make the lock of the project in a folder; returns the line that reports it."""
    try:
        run_uv(folder, *LOCK_COMMAND[1:])
    except UvFailed as error:
        command = shlex.join(LOCK_COMMAND)
        raise NoLock(
            f"There is no {LOCK} yet, and a deployment needs it. In the project's folder:\n  {command}\n{error}"
        ) from error
    packages = len(_PIN.findall((folder / LOCK).read_text(encoding="utf-8")))
    return f"Wrote {LOCK}: {packages} packages with their hashes."
