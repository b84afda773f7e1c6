"""Bicep files that name one another, and what is found wrong in them."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.bicep.arm_types import ArmTypes
from tests.deploy.bicep.declarations import BicepFile, read


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    file: str
    line: int
    symbol: str
    problem: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.symbol}: {self.problem}"


class Program:
    """The files of a folder.

    Args:
        sources: Path, relative to the folder, to text.
        types: The types of resources.

    Raises:
        BicepSyntaxError: A file does not parse.
    """

    def __init__(self, sources: Mapping[str, str], types: ArmTypes) -> None:
        self.files = {path: read(source, path) for path, source in sources.items()}
        self.types = types

    def beside(self, file: BicepFile, path: str) -> BicepFile | None:
        """The file at a path that stands in another file."""
        return self.files.get(posixpath.normpath(posixpath.join(posixpath.dirname(file.file), path)))


def sources_of(folder: Path) -> dict[str, str]:
    """The Bicep files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*.bicep"))}
