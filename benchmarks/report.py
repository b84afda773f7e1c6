"""Tables in Markdown: the median over the rounds, with the smallest and the largest beside it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from environments import SYSTEMS, System
from rows import Case, Round, Row

BEGIN: Final = "<!-- what a run printed -->"
END: Final = "<!-- end of what a run printed -->"


def table(case: Case, rounds: Sequence[Round]) -> str:
    """What a case found. Ratios are to the last system, the peer where it was measured."""
    systems: list[System] = [system for system in SYSTEMS if system in rounds[0]]
    base = systems[-1]
    columns: list[str] = [*systems, f"{base}, absolute"] if any(row.is_ratio for row in case.rows) else [*systems]
    lines = [
        "",
        f"**{case.title}** (`{case.name}`, runs: {len(rounds)})",
        "",
        "| | " + " | ".join(columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for row in case.rows:
        cells = [cell(row, rounds, system, base) for system in systems]
        if any(cells):
            absolute = numbers(row, rounds, base) if row.is_ratio else []
            cells += [short(statistics.median(absolute)) if absolute else ""][: len(columns) - len(cells)]
            lines.append(f"| {row.label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(row: Row, rounds: Sequence[Round], system: System, base: System) -> str:
    """One number of the table."""
    if row.is_ratio and system == base:
        return "1"
    found = ratios(row, rounds, system, base) if row.is_ratio else numbers(row, rounds, system)
    if not found:
        return ""
    return f"{short(statistics.median(found))} ({short(min(found))} to {short(max(found))})"


def ratios(row: Row, rounds: Sequence[Round], system: System, base: System) -> list[float]:
    """A system's number against the base's of the same round."""
    pairs = [(row.of(found, system), row.of(found, base)) for found in rounds]
    return [own / other for own, other in pairs if own is not None and other]


def numbers(row: Row, rounds: Sequence[Round], system: System) -> list[float]:
    """A system's numbers."""
    return [number for found in rounds if (number := row.of(found, system)) is not None]


def into(document: Path, tables: str) -> None:
    """Put tables into a document, in place of those between its two marks."""
    before, begin, rest = document.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{document} has no {BEGIN} ... {END}")
    document.write_text(f"{before}{begin}\n{tables.strip()}\n\n{end}{after}")


def short(number: float) -> str:
    """Two decimals for what is small, none for what is large."""
    return f"{number:.2f}" if abs(number) < 10 else f"{number:.1f}" if abs(number) < 100 else f"{number:,.0f}"
