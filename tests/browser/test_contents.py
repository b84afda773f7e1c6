"""What the page shows of each kind of content, and what its user can bring."""

from __future__ import annotations

import base64
import json

import pytest

from tests.browser.conftest import PICTURE, Chat, expect, served
from tests.browser.contents_agent import MARKDOWN
from tests.samples import server

pytestmark = pytest.mark.asyncio(loop_scope="package")  # On which the browser lives.

TRANSFER = """([name, type, data]) => {
    const transfer = new DataTransfer();
    const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
    return transfer;
}"""

LINES = """(cell) => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return range.getClientRects().length;
}"""
"""How many lines the text of an element takes."""

PASTE = "(field, clipboardData) => field.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true }))"


async def test_each_kind_of_content_is_shown_as_what_it_is(chat: Chat) -> None:
    page = chat.page
    with server.served("tests/browser/contents_agent.py") as url:  # Its script plays once.
        await chat.open(url)
        await chat.ask("A figure, please.")
        thought = chat.last().locator("details.reasoning")
        await expect(thought.get_by_text("The user wants a figure.")).to_be_hidden()
        await thought.locator("summary").click()
        await expect(thought.get_by_text("The user wants a figure.")).to_be_visible()
        code = chat.last().locator("details.tool", has_text="Code")
        await expect(code).to_contain_text("print(6 * 7)")
        await expect(code).to_contain_text("42")
        await expect(chat.last().locator(".markdown strong")).to_have_text("42")
        source = chat.last().get_by_role("list", name="Sources").get_by_role("link")
        await expect(source).to_have_text("The weather service")
        await expect(source).to_have_attribute("href", "https://weather.example/oslo")

        await chat.ask("Sign in.")
        link = chat.last().get_by_role("link", name="Open the sign-in page")
        await expect(link).to_have_attribute("href", "https://login.consent.azure-apim.net/x")
        await expect(link).to_have_attribute("rel", "noopener noreferrer")
        await page.get_by_role("button", name="Continue", exact=True).click()
        await page.get_by_text("You are signed in.").wait_for()
        await chat.ended()

        await chat.ask("Open the settings.")
        await page.get_by_label("Result of open_page").fill("opened")
        await page.get_by_role("button", name="Send result").click()
        await page.get_by_text("The page is open.").wait_for()
        await chat.ended()

        await chat.ask("Search.")
        await expect(chat.last().locator(".card", has_text="Web search")).to_contain_text("bicycles in Oslo")
        link = chat.last().get_by_role("link", name="https://bike.example/oslo")
        await expect(link).to_have_attribute("href", "https://bike.example/oslo")
        files = chat.last().locator(".card", has_text="File search")
        await expect(files).to_contain_text("bicycles, helmets")
        await expect(files.get_by_role("listitem")).to_contain_text(["report.pdf"])
        await expect(files).to_contain_text("Bicycles sell well in spring.")
        answer = chat.last().locator(".markdown")
        await expect(answer.get_by_role("heading")).to_have_css("font-size", "20.25px")
        assert await answer.get_by_text("Region", exact=True).evaluate(LINES) == 1
        await expect(answer.get_by_role("listitem")).to_have_text(["☑ counted", "☐ checked"])
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await answer.get_by_role("button", name="Copy the code").click()
        assert await page.evaluate("navigator.clipboard.readText()") == "print(6 * 7)"
        await chat.last().get_by_role("button", name="Copy", exact=True).click()
        assert await page.evaluate("navigator.clipboard.readText()") == MARKDOWN

        await chat.ask("Speak.")
        await chat.last().locator("details.tool summary").click()
        sounds = chat.last().locator("audio")
        await expect(sounds).to_have_count(2)
        for sound in await sounds.all():
            await expect(sound).to_have_attribute("src", "data:audio/wav;base64,UklGRg==")
        saved = chat.last().get_by_role("link", name="a.pdf")
        await expect(saved).to_have_attribute("download", "a.pdf")


async def test_files_are_dropped_and_pasted_and_a_conversation_is_renamed(chat: Chat) -> None:
    page = chat.page
    with served("samples/hello/agent.py") as url:
        await chat.open(url)
        picture = base64.b64encode(PICTURE).decode()
        dropped = await page.evaluate_handle(TRANSFER, ["sunset.png", "image/png", picture])
        await page.dispatch_event("#scroller", "drop", {"dataTransfer": dropped})
        pasted = await page.evaluate_handle(TRANSFER, ["note.wav", "audio/wav", base64.b64encode(b"RIFF").decode()])
        await page.locator("#message").evaluate(PASTE, pasted)
        chips = page.locator("#attachments li")
        await expect(chips).to_have_text(["sunset.png", "note.wav"])
        await page.get_by_role("button", name="Remove note.wav").click()
        await expect(chips).to_have_text(["sunset.png"])
        await chat.ask("My name is Ada.")
        await expect(chat.last().locator(".input img")).to_have_count(1)

        dropped = await page.evaluate_handle(TRANSFER, ["note.wav", "audio/wav", base64.b64encode(b"RIFF").decode()])
        await page.dispatch_event("#scroller", "drop", {"dataTransfer": dropped})
        await expect(chips).to_have_text(["note.wav"])
        async with page.expect_request(lambda request: request.method == "POST") as sent:
            await chat.ask("Listen.")
        parts = json.loads((await sent.value).post_data or "")["input"][0]["content"]
        assert parts[1] == {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
        await expect(chat.last().locator(".input audio")).to_have_attribute("src", "data:audio/wav;base64,UklGRg==")

        page.on("dialog", lambda dialog: dialog.accept("Names"))
        await page.locator("#conversations li").first.hover()
        await page.get_by_role("button", name="Rename My name is Ada.").click()
        await expect(page.locator("#conversations .name")).to_have_text("Names")
        await page.reload()
        await expect(page.locator("#conversations .name")).to_have_text("Names")
