"""The walk through the page, from the first question to another user, and what its first paint costs.

One agent does everything but ask questions with forms, which a workflow does.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.browser.conftest import PICTURE, Chat, expect, served
from tests.browser.test_page import TRAVEL
from tests.samples.server import Restarted

MAX_BYTES = 200_000
"""What the page may load until it is there."""

FIRST_PAINT = """new Promise(painted => new PerformanceObserver(list => {
    const first = list.getEntriesByName("first-contentful-paint")[0];
    if (first) painted(first.startTime);
}).observe({ type: "paint", buffered: true }))"""


async def test_the_walk(chat: Chat, tmp_path: Path) -> None:
    page = chat.page
    await page.set_viewport_size({"width": 1100, "height": 720})
    server = Restarted(TRAVEL, tmp_path)
    try:
        await chat.open(server.url)
        await chat.picture("empty")

        await chat.ask("Plan two days in Lisbon.")
        await expect(chat.last().locator("table tr")).to_have_count(3)
        await chat.picture("ask")

        await chat.ask("How is the weather?")
        tool = chat.last().locator("details.tool")
        await tool.locator("summary").click()
        await expect(tool).to_contain_text("sunny", use_inner_text=True)
        await chat.last().get_by_role("button", name="Inspect").scroll_into_view_if_needed()
        await chat.picture("tool")

        await page.set_viewport_size({"width": 1280, "height": 800})
        await page.click("#toggle-inspector")
        await page.get_by_role("tab", name="Trace").click()
        await page.locator(".span-name", has_text="execute_tool get_weather").wait_for()
        await chat.picture("trace")
        await page.click("#toggle-inspector")
        await page.set_viewport_size({"width": 1100, "height": 720})

        await chat.ask("Book the tram for two.")
        await chat.picture("approval")
        await page.get_by_role("button", name="Approve", exact=True).click()
        await page.locator(".message", has_text="Booked: Tram 28 for 2").wait_for()
        await chat.ended()

        (tmp_path / "sunset.png").write_bytes(PICTURE)
        await page.set_input_files("#files", tmp_path / "sunset.png")
        await page.locator("#attachments li").wait_for()
        await chat.ask("Where is this?")
        await expect(chat.last().locator(".input img")).to_have_count(1)
        await chat.picture("image")

        await _begin_guide(chat)
        await page.get_by_role("button", name="Stop").click()
        await page.get_by_text("Stopped.").wait_for()
        await chat.picture("stop")

        await page.get_by_role("button", name="New conversation", exact=True).click()
        await _begin_guide(chat)
        server.crash()
        await page.get_by_text("The connection was lost.").first.wait_for()
        await chat.picture("restart")
        (tmp_path / "go").touch()
        server.start()
        await page.locator(".message", has_text="Your guide is ready: 12 pages").wait_for()
        await chat.ended()
        await chat.picture("resumed")
        chat.problems.clear()  # The browser reports the refused connections.

        await page.locator(".turn").first.get_by_role("button", name="Edit").click()
        await chat.ask("How is the weather?")
        await page.locator(".branches", has_text="2 / 2").wait_for()
        await chat.picture("fork")

        await page.fill("#user", "bob")
        await page.press("#user", "Enter")
        await page.locator("#empty").wait_for()
        await expect(page.locator("#conversations")).to_have_text("No conversations yet", use_inner_text=True)
        await chat.picture("user")
        await chat.leave()
    finally:
        server.end()
    with served("samples/workflow/agent.py") as url:
        await chat.open(url)
        await chat.ask("New bicycles")
        await chat.picture("form")
        await page.get_by_label("Number").fill("2")
        await page.get_by_role("button", name="Answer").click()
        await page.get_by_text("Printed: New bicycles? Take your time.").wait_for()


async def _begin_guide(chat: Chat) -> None:
    await chat.page.fill("#message", "Write a guide.")
    await chat.page.press("#message", "Enter")
    await chat.last().locator("details.tool", has_text="write_guide").wait_for()


async def test_the_page_is_small_and_says_how_long_its_first_paint_takes(chat: Chat) -> None:
    sizes: list[asyncio.Task[bytes]] = []
    chat.page.on("response", lambda response: sizes.append(asyncio.ensure_future(response.body())))
    with served("samples/hello/agent.py") as url:
        await chat.open(url)
        loaded = sum(len(body) for body in await asyncio.gather(*sizes))
        assert 50_000 < loaded < MAX_BYTES
        times: list[float] = []
        for _ in range(5):
            await chat.page.reload()
            await chat.page.locator("#conversations li").first.wait_for(state="attached")
            times.append(await chat.page.evaluate(FIRST_PAINT))
        print(f"{loaded / 1000:.0f} kB, first paint after {sorted(times)[2]:.0f} ms (median of {len(times)})")
