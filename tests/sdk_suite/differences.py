"""What is listed of the differences: for which tests, on which driver, and why."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SUITES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "responses": ("azure-ai-agentserver-responses", ("tests/contract",)),
    "invocations": (
        "azure-ai-agentserver-invocations",
        ("tests", "--ignore=tests/e2e", "--ignore=tests/voice"),
    ),
}
"""A suite to its package, and what pytest runs of it: what needs a live service is left out."""

_FILE: Final = Path(__file__).with_name("differences.toml")


@dataclass(frozen=True, slots=True)
class Difference:
    """What ends otherwise than with the SDK.

    Args:
        about: What it is about.
        tests: The tests, as the ends of their ids without parameters.
        is_replaced: Whether `substitute` makes up for it, so that all of them may pass.
    """

    about: str
    tests: tuple[str, ...]
    is_replaced: bool = False

    def covers(self, test: str) -> bool:
        """Whether it is one of the tests."""
        return test.partition("[")[0].endswith(self.tests)


def rows(suite: str) -> Sequence[Mapping[str, Any]]:
    """The rows of a suite, as they are in the file."""
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))[suite]


def differences(suite: str, driver: str) -> Sequence[Difference]:
    """The differences of a suite on a driver."""
    return [
        Difference(
            row["about"] if "about" in row else f"not ours: {row['not_ours']}",
            tuple(row["tests"]),
            is_replaced=row.get("replaced", False),
        )
        for row in rows(suite)
        if driver in row.get("drivers", [driver])
    ]
