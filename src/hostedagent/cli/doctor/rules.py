"""What a check says: a finding, made from a rule. A rule is one thing that can be wrong, and what repairs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Level: TypeAlias = Literal["error", "warning", "note"]
"""An error will fail here or when deployed; a warning may; a note is only good to know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong.

    Args:
        code: The rule's.
        level: How bad it is.
        message: What, where, with which value.
        fix: The command that repairs it, or what to write where.
    """

    code: str
    level: Level
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that can be wrong.

    Args:
        code: Its name, for `--json`: the check's and its own.
        level: How bad it is.
        says: The message; `{names}` are filled in.
        fix: The fix; the same names.
    """

    code: str
    level: Level
    says: str
    fix: str

    def found(self, **values: object) -> Finding:
        """The finding, with the names filled in."""
        return Finding(self.code, self.level, self.says.format(**values), self.fix.format(**values))
