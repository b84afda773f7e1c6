"""Cancellations are not lost: on Python 3.11 `asyncio.wait_for` swallows one that comes together with a result."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "hostedagent"


def lossy(tree: ast.Module) -> list[int]:
    """The lines that wait with `wait_for`, by whatever name it was imported."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr == "wait_for")
        or (isinstance(node, ast.ImportFrom) and any(name.name == "wait_for" for name in node.names))
    ]


def test_nothing_waits_with_wait_for() -> None:
    found = {str(path): lossy(ast.parse(path.read_text(encoding="utf-8"))) for path in sorted(SOURCE.rglob("*.py"))}

    assert {path: lines for path, lines in found.items() if lines} == {}, "use asyncio.timeout, which loses nothing"


@pytest.mark.parametrize(
    "code", ["asyncio.wait_for(one, 1)", "from asyncio import wait_for", "wait = asyncio.wait_for"]
)
def test_every_form_of_wait_for_is_found(code: str) -> None:
    assert lossy(ast.parse(code)) == [1]
