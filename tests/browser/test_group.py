"""The page of several agents: its user chooses one, and each has conversations of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import Chat, expect
from tests.samples import server

pytestmark = pytest.mark.asyncio(loop_scope="package")  # On which the browser lives.

AGENT = """
from agent_framework import Agent
from hostedagent.testing import OfflineChatClient

agent = Agent(OfflineChatClient(script=["I am {name}."] * 9), name="{name}")
"""


async def test_the_user_chooses_an_agent_and_sees_its_conversations_only(chat: Chat, tmp_path: Path) -> None:
    for name in ("critic", "writer"):
        (tmp_path / f"{name}.py").write_text(AGENT.format(name=name))
    with server.served(".", folder=tmp_path) as url:
        await chat.open(url)
        agents = chat.page.get_by_label("Agent", exact=True)
        await expect(agents.locator("option:checked")).to_have_text("critic")
        await chat.ask("Who are you?")
        await expect(chat.last()).to_contain_text("I am critic.")

        await agents.select_option("writer")
        await chat.page.wait_for_url("**/agents/writer/")
        await expect(chat.page.locator("#conversations li")).to_have_count(1)
        await expect(chat.page.locator(".turn")).to_have_count(0)
        await chat.ask("Who are you?")
        await expect(chat.last()).to_contain_text("I am writer.")
        await chat.picture("group")

        await agents.select_option("critic")
        await chat.page.wait_for_url("**/agents/critic/")
        await expect(chat.last()).to_contain_text("I am critic.")
        await chat.leave()
