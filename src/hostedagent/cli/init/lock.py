"""Makes the project's lock with uv: every package that the image installs, with its hashes and without any address.

The lock names packages, never places, so that it holds on any machine. A `hostedagent` that was not installed from an
index (a wheel file, a checkout) is found by uv where `UV_FIND_LINKS` says; the project's owner is told so.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from hostedagent.templates import LOCK, LOCK_COMMAND

TIMEOUT: Final = 300.0
"""Seconds that uv may take: it may have to fetch the metadata of a hundred packages over a slow line."""

_PIN: Final = re.compile(r"^[A-Za-z0-9][\w.-]*==", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """What came of it: the number of packages, or the problem and what to do; and what else the user must know."""

    packages: int = 0
    problem: str = ""
    notes: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Origin:
    """Where this `hostedagent` was installed from, if not from an index: a wheel, or the folder of a checkout."""

    path: Path

    @property
    def links(self) -> Path:
        """The folder in which a wheel of it is, or would be."""
        return self.path / "dist" if self.path.is_dir() else self.path.parent

    def note(self) -> str:
        """What the user must do wherever the project is installed."""
        build = f"uv build --wheel {shlex.quote(str(self.path))}\n  " if self.path.is_dir() else ""
        return (
            f"This hostedagent comes from {self.path}, not from a package index. Until there is one with it, say where "
            f"its wheel is\n  {build}export UV_FIND_LINKS={shlex.quote(str(self.links))}\n"
            "and give the image's build a package index that has it."
        )


def make_lock(folder: Path) -> Lock:
    """Make the lock of the project in `folder`."""
    origin = origin_of(distribution("hostedagent").read_text("direct_url.json"))
    notes = [origin.note()] if origin else []
    command = shlex.join(LOCK_COMMAND)
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        problem = f"There is no {LOCK} yet, for uv is not installed. The image needs it:\n  pip install uv\n  {command}"
        return Lock(problem=problem, notes=notes)
    environment = dict(os.environ)
    if origin is not None and "UV_FIND_LINKS" not in environment and origin.links.is_dir():
        environment["UV_FIND_LINKS"] = str(origin.links)
    try:
        subprocess.run(
            [uv, *LOCK_COMMAND[1:], "--quiet"],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        return Lock(packages=len(_PIN.findall((folder / LOCK).read_text(encoding="utf-8"))), notes=notes)
    except subprocess.CalledProcessError as error:
        reason = f"uv said:\n{str(error.stderr).strip()}"
    except subprocess.TimeoutExpired:
        reason = f"uv took longer than {TIMEOUT:g} seconds."
    except OSError as error:
        reason = f"{uv} could not be run: {error}."
    problem = f"There is no {LOCK} yet, and the image needs it. In the project's folder:\n  {command}\n\n{reason}"
    return Lock(problem=problem, notes=notes)


def origin_of(direct_url: str | None) -> Origin | None:
    """Read what an installer left about a distribution that came from no index (PEP 610); `None` for any other."""
    url: str = json.loads(direct_url)["url"] if direct_url else ""
    parts = urlsplit(url)
    return Origin(Path(url2pathname(parts.path))) if parts.scheme == "file" else None
