"""Checks the files of an image: sources of `COPY` that do not exist, and a start command whose file is not copied."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from hostedagent.cli.doctor.instructions import Instruction, last_stage
from hostedagent.cli.doctor.project import Project, sequence, started
from hostedagent.cli.doctor.rules import Finding, Rule
from hostedagent.templates import LOCK

ABSENT: Final = Rule(
    "docker.absent",
    "error",
    "Dockerfile:{line}: {keyword} takes {name}, which the folder does not have.",
    "In the Dockerfile write line {line} without {name}, or create {name}.",
)
NOT_COPIED: Final = Rule(
    "docker.start",
    "error",
    "Dockerfile:{line}: the image starts {name}, and no COPY brings it.",
    "In the Dockerfile write before line {line}: COPY {name} ./",
)


def copies(project: Project, instructions: list[Instruction]) -> Iterator[Finding]:
    """Check for files that are missing in the folder or in the image."""
    brought: list[str] = []
    for row in instructions:
        names = _sources(row)
        brought += names
        for name in names:
            # A missing lock is reported by another check.
            if name != LOCK and not _is_there(project, name):
                yield ABSENT.found(line=row.line, keyword=row.keyword, name=name)
    for row in last_stage(instructions):
        if row.keyword in ("CMD", "ENTRYPOINT"):
            for name in started(row.rest.replace('"', " ").replace(",", " ")):
                if not name.startswith("/") and not any(_brings(source, name) for source in brought):
                    yield NOT_COPIED.found(line=row.line, name=name)


def _sources(row: Instruction) -> list[str]:
    """The files of the folder that an instruction copies; empty if that is unknown before the build."""
    if row.keyword not in ("COPY", "ADD") or "<<" in row.rest or "$" in row.rest:
        return []
    try:
        words = shlex.split(row.rest)
    except ValueError:
        return []
    if any(word.startswith("--from") for word in words):
        return []
    rest = row.rest[row.rest.find("[") :] if "[" in row.rest else ""
    if rest.startswith('["'):
        try:
            words = [str(word) for word in sequence(json.loads(rest))]
        except ValueError:
            return []
    names = [word for word in words if not word.startswith("--")][:-1]
    return [name.removeprefix("./") or "." for name in names if "://" not in name]


def _is_there(project: Project, name: str) -> bool:
    pattern = name.strip("/")
    return pattern in ("", ".") or any(project.folder.glob(pattern))


def _brings(source: str, name: str) -> bool:
    path = PurePosixPath(name)
    return source in (".", "*") or path.match(source) or PurePosixPath(source) in path.parents
