"""What a message or a document says to install can be installed: hostedagent itself is not on an index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]

TEXTS = [
    path
    for pattern in ("*.md", "docs/**/*.md", "samples/**/*.md", "src/hostedagent/**/*.py", "src/hostedagent/**/*.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
]
FROM_AN_INDEX = re.compile(r"(?:pip|pipx|uv add|uv tool)\b[^\n`&;]*[ '\"]hostedagent(?:\[|['\"` ]|$)", re.MULTILINE)
HINT = re.compile(r"pip install ([^\"\\\n]+?)\"")
NAME = re.compile(r"[\w.-]+")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


REQUIRED = {
    normal(found[0])
    for row in (*PROJECT["dependencies"], *(row for extra in EXTRAS.values() for row in extra))
    if (found := NAME.match(row)) is not None
}


def test_nothing_is_to_be_installed_from_an_index_that_has_nothing() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {hint.group()}"
        for path in TEXTS
        for hint in FROM_AN_INDEX.finditer(path.read_text(encoding="utf-8"))
    ]

    assert found == []


@pytest.mark.parametrize(
    "text", ["pip install 'hostedagent[mcp]'", 'uv add --dev "hostedagent[reload]"', "pip install hostedagent"]
)
def test_such_a_hint_is_found(text: str) -> None:
    assert FROM_AN_INDEX.search(text)


def test_a_hint_of_a_message_names_packages_that_the_project_or_an_extra_requires() -> None:
    hints = {
        normal(found[0])
        for path in (ROOT / "src/hostedagent").rglob("*.py")
        for hint in HINT.finditer(path.read_text(encoding="utf-8"))
        if "{" not in hint[1]
        for word in hint[1].replace("'", " ").split()
        if not word.startswith("-") and (found := NAME.match(word)) is not None
    }

    assert len(hints) > 5
    assert hints - REQUIRED == {"uv"}


def test_each_extra_is_documented() -> None:
    text = (ROOT / "docs/getting-started.md").read_text(encoding="utf-8")
    section = text.partition("### Extras\n")[2].partition("\n## ")[0]

    assert {
        name
        for line in section.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([\w-]+)`", line.split("|")[1])
    } == set(EXTRAS)
