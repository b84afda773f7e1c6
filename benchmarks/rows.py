"""What a case says about its measurements: rows of a table, each a number for every system."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from environments import System

Measured: TypeAlias = Mapping[str, float]
Round: TypeAlias = Mapping[System, Measured]
"""What one round found for each system."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Args:
        label: What it says.
        of: The number of a system in a round, `None` where there is none.
        is_ratio: Whether the table shows the ratio to the base's number rather than the number.
    """

    label: str
    of: Callable[[Round, System], float | None]
    is_ratio: bool = True


def against_base(label: str, quantity: str) -> Row:
    """A quantity as a share of the peer's."""
    return Row(label, lambda found, system: found[system].get(quantity))


def plain(label: str, quantity: str) -> Row:
    """A quantity as it is, where that means something on any machine."""
    return Row(label, lambda found, system: found[system].get(quantity), is_ratio=False)


def growth(label: str, late: str, early: str) -> Row:
    """A quantity of a system as a multiple of another one of the same system."""

    def of(found: Round, system: System) -> float | None:
        numbers = found[system]
        return numbers[late] / numbers[early] if late in numbers and numbers.get(early) else None

    return Row(label, of, is_ratio=False)


class Case(Protocol):
    """Something to measure."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        ...

    @property
    def title(self) -> str:
        """What it is called in a table."""
        ...

    @property
    def systems(self) -> tuple[System, ...]:
        """The systems it is about."""
        ...

    @property
    def rows(self) -> tuple[Row, ...]:
        """What the table shows."""
        ...

    @property
    def most_runs(self) -> int | None:
        """How many runs are enough, where one takes minutes."""
        ...

    def open(self, system: System, share: float) -> AbstractContextManager[Callable[[], Measured]]:
        """Get a system ready, and measure it once with each call.

        Args:
            system: The system.
            share: Less than 1 takes less load.
        """
        ...
