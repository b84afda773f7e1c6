"""The report of doctor: a line for each check, its findings with their fixes, and the tables; or all of it as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from hostedagent.cli.doctor.environment import Variable
from hostedagent.cli.doctor.machine import Package
from hostedagent.cli.doctor.rules import Finding, Level

_SIGNS: Final[Mapping[Level, str]] = {"error": "ERROR", "warning": "warning", "note": "note"}
_RANK: Final[tuple[Level, ...]] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The results of all checks.

    Args:
        findings: Check to its findings, in order.
        unchecked: Check to the reason why it was skipped.
    """

    folder: str
    findings: Mapping[str, Sequence[Finding]]
    packages: Sequence[Package]
    variables: Sequence[Variable]
    unchecked: Mapping[str, str] = field(default_factory=dict[str, str])

    def count(self, level: Level) -> int:
        """The number of findings of a level."""
        return sum(finding.level == level for found in self.findings.values() for finding in found)

    @property
    def exit_code(self) -> int:
        """1 with an error, else 0; warnings and notes are not failures."""
        return 1 if self.count("error") else 0

    def text(self, width: int | None = None) -> str:
        """The report as text.

        Args:
            width: Columns to which messages are wrapped; a fix is never wrapped, because it is copied.
        """
        return "\n".join(
            [*self._checks(width), "", *self._packages(), "", *self._environment(width), "", self._summary()]
        )

    def json(self) -> str:
        """The report as JSON; secrets are masked here too."""
        return json.dumps(self._values(), indent=2)

    def _checks(self, columns: int | None) -> Iterator[str]:
        yield f"hostedagent doctor: {self.folder}"
        width = max(len(name) for name in self.findings)
        for name, found in self.findings.items():
            if not found and name in self.unchecked:
                yield _wrapped(f"  -        {name:<{width}}  ", f"not checked: {self.unchecked[name]}", columns)
            elif not found:
                yield f"  ok       {name}"
            for finding in sorted(found, key=lambda row: _RANK.index(row.level)):
                yield _wrapped(f"  {_SIGNS[finding.level]:<8} {name:<{width}}  ", finding.message, columns)
                yield f"           {'':<{width}}  fix: {finding.fix}"

    def _packages(self) -> Iterator[str]:
        rows = [(row.requirement.name, row.installed or "-", row.tested or "any") for row in self.packages]
        return _columns(("PACKAGE", "INSTALLED", "TESTED"), rows)

    def _environment(self, columns: int | None) -> Iterator[str]:
        """Each variable with its values below it: side by side they are wider than a terminal."""
        yield "  VARIABLE"
        for row in self.variables:
            yield f"  {row.name}"
            for place, value in (("here", row.here), ("deployed", row.deployed)):
                if value is not None:
                    yield _wrapped(f"    {place:<8}  ", f"{value.value or '(empty)'} [{value.source}]", columns)

    def _summary(self) -> str:
        counts = [(self.count("error"), "error"), (self.count("warning"), "warning")]
        said = [f"{number} {word}{'s' if number != 1 else ''}" for number, word in counts if number]
        skipped = sum(not self.findings[name] for name in self.unchecked)
        rest = f" Not checked: {skipped}." if skipped else ""
        return (f"{' and '.join(said)}." if said else "Nothing is wrong." if skipped else "Everything is fine.") + rest

    def _values(self) -> dict[str, Any]:
        return {
            "project": self.folder,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "unchecked": dict(self.unchecked),
            "checks": {name: [asdict(finding) for finding in found] for name, found in self.findings.items()},
            "packages": [
                {
                    "name": row.requirement.name,
                    "installed": row.installed,
                    "tested": row.tested,
                    "ok": row.is_tested,
                }
                for row in self.packages
            ],
            "environment": [asdict(row) for row in self.variables],
        }


def _wrapped(head: str, message: str, columns: int | None) -> str:
    """A message beside its check, continued below itself."""
    if columns is None or columns < 2 * len(head):
        return head + message
    lines = textwrap.wrap(message, columns - len(head), break_long_words=False, break_on_hyphens=False)
    return head + f"\n{' ' * len(head)}".join(lines)


def _columns(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    for row in (head, *rows):
        yield "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
