"""The page passes axe's rules for WCAG A and AA, in both colour schemes and on a phone's width."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.browser.conftest import Chat
from tests.samples.server import served

AXE = Path(os.environ.get("HOSTEDAGENT_AXE", Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"))


@pytest.fixture
def axe() -> str:
    """The script of axe."""
    if not AXE.is_file():
        pytest.skip("no axe: npm install --no-save axe-core, or set HOSTEDAGENT_AXE to its axe.min.js")
    return AXE.read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_the_page_has_no_accessibility_violation(chat: Chat, axe: str, scheme: str, width: int) -> None:
    with served("samples/approvals/agent.py") as url:
        await chat.page.set_viewport_size({"width": width, "height": 800})
        await chat.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await chat.open(url)
        await chat.ask("What is my balance?")
        await chat.ask("Send 5 euros to Ada.")
        if width > 800:
            await chat.page.click("#toggle-inspector")
        await chat.page.evaluate(axe)
        found = await chat.page.evaluate(
            "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}).then(r => r.violations.map(v =>"
            " v.id + ': ' + v.nodes.map(n => n.target.join(' ')).join(', ')))"
        )
        assert found == []
