"""Files and functions stay small enough to be read at one sitting."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_FILE = 400
MAX_FUNCTION = 60


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("folder", ["src", "tests", "samples", "benchmarks"])
def test_no_file_is_longer_than_400_lines(folder: str) -> None:
    paths = sources(folder)
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}

    assert lengths
    assert {name: length for name, length in lengths.items() if length > MAX_FILE} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    lengths = {
        f"{path.relative_to(ROOT)}:{name}": length for path in sources("src") for name, length in functions(path)
    }

    assert lengths
    assert {name: length for name, length in lengths.items() if length > MAX_FUNCTION} == {}
