"""The instructions of a Dockerfile, and why one cannot be parsed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

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
