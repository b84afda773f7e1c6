"""A clock for the contracts of stores, which passes fractions of what records are kept for."""

import pytest

TTL = 100.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, fraction: float) -> None:
        self.now += fraction * TTL


@pytest.fixture
def clock() -> Clock:
    return Clock()
