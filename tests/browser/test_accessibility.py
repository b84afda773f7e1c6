"""The page passes axe's rules for WCAG A and AA, in both colour schemes and on a phone's width."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

import pytest

from tests.browser.conftest import Chat, served

AXE = Path(os.environ.get("HOSTEDAGENT_AXE", Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"))

SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")


@pytest.fixture
def axe() -> str:
    """The script of axe."""
    if not AXE.is_file():
        pytest.skip("no axe: npm install --no-save axe-core, or set HOSTEDAGENT_AXE to its axe.min.js")
    return AXE.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(
    ("target", "questions"),
    [
        ("samples/approvals/agent.py", ["What is my balance?", "Send 5 euros to Ada."]),
        ("samples/workflow/agent.py", ["New bicycles"]),
        ("tests/browser/typed_agent.py", []),
        ("tests/browser/order_workflow.py", ["A bicycle"]),
    ],
)
async def test_the_page_has_no_accessibility_violation(
    chat: Chat, axe: str, width: int, target: str, questions: list[str]
) -> None:
    with served(target) as url:
        await chat.page.set_viewport_size({"width": width, "height": 800})
        await chat.open(url)
        for question in questions:
            await chat.ask(question)
        if width > 800:
            await chat.page.click("#toggle-inspector")
            await chat.page.locator(".inspector-body > *").first.wait_for()
        await chat.page.evaluate(axe)
        found: dict[str, list[str]] = {}
        for scheme in SCHEMES:
            await chat.page.emulate_media(color_scheme=scheme)
            found[scheme] = await chat.page.evaluate(
                "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}).then(r => r.violations.map(v =>"
                " v.id + ': ' + v.nodes.map(n => n.target.join(' ')).join(', ')))"
            )
        assert found == {scheme: [] for scheme in SCHEMES}
