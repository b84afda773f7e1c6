"""The page while its server is away."""

from __future__ import annotations

from pathlib import Path

from tests.browser.conftest import Chat, expect
from tests.browser.test_page import TRAVEL
from tests.samples.server import Restarted


async def test_the_inspector_says_that_the_server_is_away_and_works_when_it_is_back(chat: Chat, tmp_path: Path) -> None:
    server = Restarted(TRAVEL, tmp_path)
    try:
        await chat.open(server.url)
        await chat.page.click("#toggle-inspector")
        await chat.ask("How is the weather?")
        server.crash()
        await chat.page.get_by_role("tab", name="Trace").click()
        await expect(chat.page.locator("#inspector .hint")).to_have_text("The server cannot be reached.")
        assert [problem for problem in chat.problems if "ERR_CONNECTION_REFUSED" not in problem] == []
        chat.problems.clear()  # The browser reports the refused connection.
        server.start()
        await chat.page.get_by_role("tab", name="Model").click()
        await expect(chat.page.locator("#inspector .hint")).to_contain_text("They are kept while the server runs.")
        await chat.leave()
    finally:
        server.end()


async def test_a_turn_whose_events_cannot_be_followed_is_waited_for_while_it_runs(chat: Chat, tmp_path: Path) -> None:
    server = Restarted(TRAVEL, tmp_path)
    refusal = '{"error": {"code": "invalid_request", "message": "It has no events."}}'
    try:
        await chat.open(server.url)
        await chat.page.fill("#message", "Write a guide.")
        await chat.page.press("#message", "Enter")
        await chat.last().locator("details.tool").wait_for()
        await chat.page.route("**/responses/*?stream=true*", lambda route: route.fulfill(status=400, body=refusal))
        async with chat.page.expect_response(lambda response: response.status == 200 and "/responses/" in response.url):
            await chat.page.reload()
        await expect(chat.last().locator(".problem")).to_have_count(0)
        (tmp_path / "go").touch()
        await chat.page.locator(".message", has_text="Your guide is ready: 12 pages").wait_for()
        await chat.ended()
        chat.problems.clear()  # The browser reports the refusals.
        await chat.leave()
    finally:
        server.end()
