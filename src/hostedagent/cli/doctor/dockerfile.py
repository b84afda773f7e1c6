"""Checks of the Dockerfile: platform, Python, user, bytecode, and syntax that needs BuildKit, which registries lack."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import PurePosixPath
from typing import Final

from packaging.specifiers import SpecifierSet

from hostedagent.cli.doctor.project import Project, started
from hostedagent.cli.doctor.rules import Finding, Rule
from hostedagent.protocol.values import rows_of
from hostedagent.templates import LOCK

BINDS_LOOPBACK: Final = re.compile(r"--host[\s\"',=]+(127\.[\d.]+|localhost|::1)")
"""A command that serves this machine only."""

_CONTINUED: Final = re.compile(r"\\[ \t]*$")
_HEREDOC: Final = re.compile(r"<<-?[\"']?[A-Za-z_]\w*")
_KEYWORDS: Final = frozenset(
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME"
    " WORKDIR".split()
)


@dataclass(frozen=True, slots=True)
class Instruction:
    """An instruction with its continued lines joined; `line` is its first."""

    line: int
    keyword: str
    rest: str
    is_cut: bool = False


def parse(text: str) -> list[Instruction]:
    """Read the instructions; comments, also inside of continued lines, are left out."""
    found: list[Instruction] = []
    first, gathered = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        first = first or number
        gathered += _CONTINUED.sub(" ", line)
        if not _CONTINUED.search(line):
            found.append(_instruction(first, gathered))
            first, gathered = 0, ""
    if gathered:
        found.append(_instruction(first, gathered, is_cut=True))
    return found


def last_stage(instructions: list[Instruction]) -> list[Instruction]:
    """The instructions of the image that is built."""
    starts = [n for n, row in enumerate(instructions) if row.keyword == "FROM"]
    return instructions[starts[-1] :] if starts else instructions


def mistake(instructions: list[Instruction]) -> tuple[int, str] | None:
    """The line of a syntax error in a Dockerfile and its description; `None` if there is none."""
    first = next((row for row in instructions if row.keyword != "ARG"), None)
    if first is None:
        return 1, "it has no instruction FROM"
    if first.keyword in _KEYWORDS and first.keyword != "FROM":
        return first.line, f"{first.keyword} comes before FROM"
    has_heredoc = any(_HEREDOC.search(row.rest) for row in instructions)  # Its lines are no instructions.
    for row in instructions:
        if row.keyword not in _KEYWORDS and not has_heredoc:
            return row.line, f"{row.keyword:.40} is not an instruction"
        if row.is_cut:
            return row.line, f"{row.keyword} is continued, and the file ends"
        if not row.rest and not has_heredoc:
            return row.line, f"{row.keyword} has no argument"
    return None


def _instruction(line: int, text: str, *, is_cut: bool = False) -> Instruction:
    keyword, _, rest = text.strip().partition(" ")
    return Instruction(line, keyword.upper(), rest.strip(), is_cut)


_ROOT: Final = frozenset({"", "0", "root"})
_IMAGE: Final = re.compile(r"(?:\S*/)?python:(\d+\.\d+)(?=[.\s-]|$)")
_BUILDKIT: Final[dict[str, re.Pattern[str]]] = {
    "RUN": re.compile(r"(?:^|\s)--(?:mount|network|security|device)\b"),
    "COPY": re.compile(r"(?:^|\s)--(?:link|chmod|parents|exclude)\b"),
    "ADD": re.compile(r"(?:^|\s)--(?:link|chmod|checksum|keep-git-dir|exclude|unpack)\b"),
    "FROM": re.compile(r"\$\{?(?:BUILD|TARGET)(?:PLATFORM|ARCH|OS)"),
}
"""Instruction to the flags that only BuildKit knows."""

PLATFORM: Final = Rule(
    "docker.platform",
    "error",
    "Dockerfile:{line}: the image is built for {platform}; the platform runs linux/amd64.",
    "In the Dockerfile write: FROM {image}",
)
BROKEN: Final = Rule(
    "docker.broken",
    "error",
    "Dockerfile:{line}: {mistake}. Nothing else in it was checked.",
    "Correct the Dockerfile at line {line}.",
)
PYTHON: Final = Rule(
    "docker.python",
    "error",
    "Dockerfile:{line}: the image has Python {python}, and hostedagent needs {wanted}.",
    "In the Dockerfile write line {line} with python:3.13-slim",
)
USER: Final = Rule(
    "docker.user",
    "error",
    "Dockerfile: the last stage runs as {user}.",
    "In the Dockerfile write before its last instruction: "
    "RUN useradd --uid 10001 --home-dir /home/session --create-home agent, and then: USER 10001",
)
BYTECODE: Final = Rule(
    "docker.bytecode",
    "warning",
    "Dockerfile: nothing compiles {what} to bytecode, so that each start does: it takes two to three times as long.",
    "In the Dockerfile write after the last COPY of the build: RUN python -m compileall -q {where}",
)
BUILDKIT: Final = Rule(
    "docker.buildkit",
    "error",
    "Dockerfile:{line}: {syntax} needs BuildKit, which the registry's remote build does not have.",
    "In the Dockerfile write line {line} without {syntax}.",
)
LOOPBACK: Final = Rule(
    "docker.loopback",
    "error",
    "Dockerfile:{line}: the server binds {address}, which nothing outside of the container reaches.",
    "In the Dockerfile write line {line} with --host 0.0.0.0",
)
ENV_FILE: Final = Rule(
    "docker.env_file",
    "error",
    "Dockerfile:{line}: COPY takes the whole folder, and .dockerignore does not keep .env out of the image.",
    "echo .env >> .dockerignore",
)


def dockerfile(project: Project) -> Iterator[Finding]:
    """The file that `azure.yaml` names, or the usual one."""
    text = project.text("Dockerfile")
    if text is None:
        return
    instructions = parse(text)
    if (wrong := mistake(instructions)) is not None:
        yield BROKEN.found(line=wrong[0], mistake=wrong[1])
        return
    for check in _CHECKS:
        yield from check(instructions)
    if re.match(r"#\s*syntax\s*=", text):
        yield BUILDKIT.found(line=1, syntax="# syntax=")
    yield from _env_file(project, instructions)
    yield from copies(project, instructions)


def _platform(instructions: list[Instruction]) -> Iterator[Finding]:
    for row in instructions:
        asked = re.match(r"--platform=(\S+)\s+(.*)", row.rest) if row.keyword == "FROM" else None
        if asked and asked[1] != "linux/amd64" and "$" not in asked[1]:
            yield PLATFORM.found(line=row.line, platform=asked[1], image=asked[2])


def _python(instructions: list[Instruction]) -> Iterator[Finding]:
    wanted = SpecifierSet(metadata("hostedagent")["Requires-Python"])
    for row in instructions:
        image = _IMAGE.search(row.rest) if row.keyword == "FROM" else None
        if image and not wanted.contains(image[1]):
            yield PYTHON.found(line=row.line, python=image[1], wanted=wanted)


def _user(instructions: list[Instruction]) -> Iterator[Finding]:
    users = [row.rest.partition(":")[0].strip() for row in last_stage(instructions) if row.keyword == "USER"]
    if not users or users[-1] in _ROOT:
        yield USER.found(user="root")


def _bytecode(instructions: list[Instruction]) -> Iterator[Finding]:
    text = "\n".join(f"{row.keyword} {row.rest}" for row in instructions)
    compiles = "compileall" in text
    installs_without = "--no-compile" in text or re.search(r"\buv\s+(?:sync|pip)\b", text) is not None
    if installs_without and not compiles and not re.search(r"UV_COMPILE_BYTECODE[= ]\S|--compile-bytecode", text):
        yield BYTECODE.found(what="the packages", where="/opt/venv/lib")
    elif not compiles:
        yield BYTECODE.found(what="the agent", where=".")


def _buildkit(instructions: list[Instruction]) -> Iterator[Finding]:
    for row in instructions:
        flag = _BUILDKIT[row.keyword].search(row.rest) if row.keyword in _BUILDKIT else None
        if flag:
            yield BUILDKIT.found(line=row.line, syntax=flag[0].strip())
        heredoc = _HEREDOC.search(row.rest) if row.keyword in ("RUN", "COPY", "ADD") else None
        if heredoc:
            yield BUILDKIT.found(line=row.line, syntax=heredoc[0])


def _loopback(instructions: list[Instruction]) -> Iterator[Finding]:
    for row in last_stage(instructions):
        bound = BINDS_LOOPBACK.search(row.rest) if row.keyword in ("CMD", "ENTRYPOINT") else None
        if bound:
            yield LOOPBACK.found(line=row.line, address=bound[1])


_CHECKS: Final[tuple[Callable[[list[Instruction]], Iterator[Finding]], ...]] = (
    _platform,
    _python,
    _user,
    _bytecode,
    _buildkit,
    _loopback,
)


def _env_file(project: Project, instructions: list[Instruction]) -> Iterator[Finding]:
    ignored = [line.strip() for line in (project.text(".dockerignore") or "").splitlines()]
    if set(ignored) & {".env", "*", "**", ".*", "**/.*", "**/.env", "/.env", ".env*"}:
        return
    for row in instructions:
        if row.keyword in ("COPY", "ADD") and re.match(r"(?:--chown=\S+\s+)?\.\s", row.rest):
            yield ENV_FILE.found(line=row.line)


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
            words = [str(word) for word in rows_of(json.loads(rest))]
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
