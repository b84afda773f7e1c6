"""Commands that create missing files: `init` writes a new project elsewhere, and the files are copied from there."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hostedagent.cli.init import name_from
from hostedagent.cli.init.uv import WHEELS
from hostedagent.templates import LOCK

DESCRIPTION: Final = ("azure.yaml", "infra")
"""Files that azd reads."""

_MADE: Final = 'at=$(mktemp -d) && hostedagent init "$at" --yes --name {name} && '


def image(folder: Path) -> list[str]:
    """The files for an image as `init` creates them; empty if there is a Dockerfile."""
    from hostedagent.cli.init.uv import installed_from

    if (folder / "Dockerfile").is_file():
        return []
    # A lock belongs to the pyproject.toml that it was made from; for another one, a command creates it.
    packages = [] if (folder / "pyproject.toml").exists() else ["pyproject.toml", LOCK]
    wheels = [] if installed_from() is None else [WHEELS]
    return ["Dockerfile", ".dockerignore", *packages, *wheels]


def bring(folder: Path, names: Iterable[str], to: str = ".") -> str:
    """The command that copies the missing ones of these files, to be run in the project's folder.

    Args:
        names: Files and folders as named by `init`.
        to: The target folder below the project's.
    """
    missing = shlex.join(name for name in names if not (folder / to / name).exists())
    place = '"$OLDPWD"' if Path(to) == Path() else f'"$OLDPWD"/{shlex.quote(to)}'
    return f'{_made(folder)}(cd "$at" && cp -r {missing} {place})'


def bring_infra(folder: Path, path: str) -> str:
    """The command that fills the infrastructure folder, whatever its name."""
    place = shlex.quote(path)
    return f'{_made(folder)}mkdir -p {place} && cp -r "$at"/infra/. {place}'


def _made(folder: Path) -> str:
    return _MADE.format(name=name_from(folder))
