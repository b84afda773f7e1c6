"""Texts are plain English: the turns of phrase that once made them hard to read do not come back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HARD = (
    r"\bwhoever\b",
    r"\b(?:gone|goes|going|go) on with\b",
    r"\btaken up again\b",
    r"\bstands? still\b",
    r"\btold of\b",
    r"\bsays? nothing\b",
    r"\basks? nobody\b",
    r"\bthat there are not\b",
    r"\bof what there is\b",
    r"\bread(?:s)? on where\b",
    r"\bin the way of what\b",
)
"""Patterns of phrases that a reader has to decode."""

RIDDLE = re.compile(r'^\s*"""(?:What|Who|Whose|How|Where|That)\b')
"""A docstring that describes a thing instead of naming it."""

FOLDERS = ("src", "docs", "samples", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "AGENTS.md")
SUFFIXES = (".py", ".md", ".bicep", ".yaml", ".toml", ".js", ".html")


def texts() -> list[Path]:
    found = [ROOT / name for name in FOLDERS if (ROOT / name).is_file()]
    for name in FOLDERS:
        found += [path for path in (ROOT / name).rglob("*") if path.suffix in SUFFIXES and "vendor" not in path.parts]
    return found


@pytest.mark.parametrize("pattern", HARD)
def test_no_text_uses_a_phrase_that_has_to_be_decoded(pattern: str) -> None:
    hard = re.compile(pattern, re.IGNORECASE)
    lines = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if hard.search(line)
    ]
    assert lines == []


def test_docstrings_name_what_they_are_about() -> None:
    lines = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in (ROOT / "src").rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if RIDDLE.match(line)
    ]
    assert lines == []
