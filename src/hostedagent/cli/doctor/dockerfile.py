"""Checks of the Dockerfile: platform, Python, user, bytecode, and syntax that needs BuildKit, which registries lack."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.metadata import metadata
from typing import Final

from packaging.specifiers import SpecifierSet

from hostedagent.cli.doctor.copies import copies
from hostedagent.cli.doctor.instructions import BINDS_LOOPBACK, Instruction, last_stage, mistake, parse
from hostedagent.cli.doctor.project import Project
from hostedagent.cli.doctor.rules import Finding, Rule

_HEREDOC: Final = re.compile(r"<<-?[\"']?[A-Za-z_]\w*")
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
