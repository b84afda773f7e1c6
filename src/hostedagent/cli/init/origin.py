"""Finds out where this `hostedagent` was installed from, and adds its wheel to a project if that was not an index.

Installed from an index, a project names it like any other package. Installed from a wheel file or a checkout, no index
may have it: then the project brings the wheel along in `wheels/`, where uv, the lock and the image's build find it.
"""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from hostedagent.cli.init.uv import UvFailed, run_uv

WHEELS: Final = "wheels"


@dataclass(frozen=True, slots=True)
class Origin:
    """A wheel file, or the folder of a checkout."""

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
                run_uv(folder, "build", "--wheel", "--out-dir", made, str(origin.path))
                for wheel in Path(made).glob("*.whl"):
                    shutil.copy(wheel, target)
        else:
            shutil.copy(origin.path, target)
    except (UvFailed, OSError) as error:
        command = shlex.join(["uv", "build", "--wheel", "--out-dir", WHEELS, str(origin.path)])
        return f"{WHEELS}/ lacks the wheel of hostedagent. In the project's folder:\n  {command}\n{error}"
    return (
        f"Put the wheel of hostedagent into {WHEELS}/, for it was installed from {origin.path} and not from an index."
    )
