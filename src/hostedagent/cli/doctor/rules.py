"""Rules and findings: a rule describes a problem and its fix, and a finding is an occurrence of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["error", "warning", "note"]
"""An error will fail on this machine or when deployed; a warning may; a note is information."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem that was found.

    Args:
        fix: The command that repairs it, or the text to write and its place.
    """

    code: str
    level: Level
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of problem.

    Args:
        code: Its name for `--json`: that of the check and its own.
        says: The message; `{names}` are filled in.
        fix: The fix, with the same names.
    """

    code: str
    level: Level
    says: str
    fix: str

    def found(self, **values: object) -> Finding:
        """The finding, with the names filled in."""
        return Finding(self.code, self.level, self.says.format(**values), self.fix.format(**values))
