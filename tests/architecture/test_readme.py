"""The README: short, with the way to the first answer, a picture, and something that shows each claim."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = 150

SENTENCE = re.compile(r"[.!?](\s|$)")


def section(title: str) -> str:
    """The text below a heading, to the next one; empty without it."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    return "" if found is None else found[1]


def rows() -> list[tuple[str, list[str]]]:
    """The rows of the table: a claim, and the files that show it."""
    table = [line.strip("|").split("|") for line in section("What sets it apart").splitlines() if line.startswith("| ")]
    return [(claim.strip(), re.findall(r"\]\(([^)#]+)", shown)) for claim, shown in table if claim.strip()]


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= LINES


def test_it_begins_with_one_sentence() -> None:
    _, first, _ = README.split("\n\n", 2)

    assert len(SENTENCE.findall(first)) == 1


def test_two_commands_lead_to_an_answer() -> None:
    found = re.search(r"```bash\n(.*?)```", section("Start"), re.DOTALL)

    assert found is not None
    assert len(found[1].splitlines()) == 2


def test_it_shows_a_picture_of_the_page() -> None:
    pictures = re.findall(r"!\[.+?\]\((docs/images/page-[^)]+)\)", README)

    assert pictures and all((ROOT / name).is_file() for name in pictures)


@pytest.mark.parametrize("claim, shown", rows(), ids=[claim[:40] for claim, _ in rows()])
def test_each_claim_is_shown_by_a_test_or_a_page(claim: str, shown: list[str]) -> None:
    assert any(name.startswith(("tests/", "benchmarks/")) for name in shown), f"nothing runs that shows: {claim}"
    assert [name for name in shown if not (ROOT / name).exists()] == []


def test_there_are_claims() -> None:
    assert len(rows()) >= 5
