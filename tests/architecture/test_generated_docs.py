"""The generated documents say what the code does."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from hostedagent.protocol.content import BY_CONTENT, BY_ITEM, CODECS

DOCS = Path(__file__).parents[2] / "docs"
NAMES = ("content-types.md", "limitations.md", "internals/turn-lifecycle.md", "clients.md", "options.md")


@pytest.fixture(scope="module")
def main() -> Callable[..., int]:
    return cast("Callable[..., int]", runpy.run_path(str(DOCS / "generate.py"))["main"])


def test_the_documents_in_the_tree_are_those_that_the_code_writes(
    main: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
def test_a_document_that_differs_is_named(
    name: str, main: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for other in NAMES:
        (tmp_path / other).parent.mkdir(exist_ok=True)
        shutil.copy(DOCS / other, tmp_path / other)
    (tmp_path / name).write_text("something else", encoding="utf-8")
    assert main(["--check"], folder=tmp_path) == 1
    named = capsys.readouterr().err
    assert [other for other in NAMES if other in named] == [name]


def test_writing_mends_what_differs(main: Callable[..., int], tmp_path: Path) -> None:
    assert main(["--check"], folder=tmp_path) == 1
    assert main([], folder=tmp_path) == 0
    assert main(["--check"], folder=tmp_path) == 0


def test_every_type_and_every_limit_is_told() -> None:
    types, limits = ((DOCS / name).read_text(encoding="utf-8") for name in NAMES[:2])
    told: list[Any] = [kind for kind in (*BY_CONTENT, *BY_ITEM) if f"`{kind}`" not in types]
    assert told == []
    assert [limit for codec in CODECS for limit in codec.limits if limit not in limits] == []
