"""No test waits for a number of its own: what is long enough on one machine is a failure by chance on another."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
ELSEWHERE = {"chaos", "clients_matrix", "deploy", "soak"}
"""These end after a time of their own, or run in other environments."""

WAITS = {"timeout", "wait", "wait_for", "communicate", "run", "reached", "urlopen", "create_connection", "settimeout"}


def waits(code: str) -> Iterator[int]:
    """The lines where something is waited for at most a number of seconds."""
    for call in ast.walk(ast.parse(code)):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr not in WAITS:
            continue
        given = [keyword.value for keyword in call.keywords if keyword.arg == "timeout"]
        if call.func.attr in ("timeout", "settimeout", "wait_for"):
            given += call.args
        if ast.unparse(call.func) == "pytest.mark.timeout":
            continue
        if any(isinstance(value, ast.Constant) and isinstance(value.value, int | float) for value in given):
            yield call.lineno


def test_tests_wait_with_the_patience_that_all_share() -> None:
    files = [path for path in TESTS.rglob("*.py") if path.relative_to(TESTS).parts[0] not in ELSEWHERE]
    found = [f"{path.relative_to(TESTS)}:{line}" for path in files for line in waits(path.read_text(encoding="utf-8"))]
    assert not found, f"use PATIENCE of tests/patience.py in {found}"


@pytest.mark.parametrize(
    "code",
    [
        "asyncio.timeout(30)",
        "asyncio.wait(tasks, timeout=0.5)",
        "process.wait(timeout=20)",
        "await g.reached(timeout=1)",
    ],
)
def test_a_number_is_found(code: str) -> None:
    assert list(waits(f"async def test():\n    {code}"))
