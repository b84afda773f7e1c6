"""Commands that bring the files that a project lacks: `init` writes one elsewhere, and they are copied from there."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hostedagent.cli.init import name_from
from hostedagent.cli.init.origin import WHEELS
from hostedagent.templates import LOCK

DESCRIPTION: Final = ("azure.yaml", "infra")
"""What azd reads."""

_MADE: Final = 'at=$(mktemp -d) && hostedagent init "$at" --yes --name {name} && '


def image(folder: Path) -> list[str]:
    """What the Dockerfile of `init` is built with, itself included; nothing where there is a Dockerfile."""
    from hostedagent.cli.init.origin import installed_from

    if (folder / "Dockerfile").is_file():
        return []
    # A lock is of the pyproject.toml that it was made from: without that one there is a command that makes the lock.
    packages = [] if (folder / "pyproject.toml").exists() else ["pyproject.toml", LOCK]
    wheels = [] if installed_from() is None else [WHEELS]
    return ["Dockerfile", ".dockerignore", *packages, *wheels]


def bring(folder: Path, names: Iterable[str], to: str = ".") -> str:
    """The command, for the project's folder, that brings those of these files that are not there.

    Args:
        folder: The project's.
        names: Files and folders as `init` calls them.
        to: The folder below the project's in which they are to be.
    """
    missing = shlex.join(name for name in names if not (folder / to / name).exists())
    place = '"$OLDPWD"' if Path(to) == Path() else f'"$OLDPWD"/{shlex.quote(to)}'
    return f'{_made(folder)}(cd "$at" && cp -r {missing} {place})'


def bring_infra(folder: Path, path: str) -> str:
    """The command that fills the folder of the infrastructure, whatever it is called."""
    place = shlex.quote(path)
    return f'{_made(folder)}mkdir -p {place} && cp -r "$at"/infra/. {place}'


def _made(folder: Path) -> str:
    return _MADE.format(name=name_from(folder))
