"""A question of a workflow as a form: what must be filled in, what may be left out, and what is sent."""

from __future__ import annotations

import json

from tests.browser.conftest import Chat, expect, served

ORDER = "tests/browser/order_workflow.py"


async def fill_in(chat: Chat) -> None:
    """What must be there."""
    await chat.page.get_by_label("Product").fill("bicycle")
    await chat.page.get_by_label("Amount").fill("2")
    await chat.page.get_by_label("Street").fill("Main street 1")
    await chat.page.get_by_label("Zip").fill("12345")


async def answer(chat: Chat) -> object:
    """Sends the form, and gives what the workflow understood."""
    await chat.page.get_by_role("button", name="Answer").click()
    await chat.ended()
    return json.loads(await chat.last().locator(".message code").inner_text())


REQUIRED = {
    "product": "bicycle",
    "amount": 2,
    "speed": "slow",
    "gift": False,
    "address": {"street": "Main street 1", "zip": 12345},
    "note": "Ring twice",
}


async def test_what_is_optional_says_so_and_may_be_left_out(chat: Chat) -> None:
    with served(ORDER) as url:
        await chat.open(url)
        await chat.ask("A bicycle")
        await expect(chat.page.locator(".request h3")).to_have_text("What shall it be?")
        optional = chat.page.locator(".request :is(label, legend)", has_text="(optional)")
        names = await optional.evaluate_all("all => [...new Set(all.map(one => one.textContent.trim()))]")
        assert names == [f"{name} (optional)" for name in ("Insured", "Day", "Tags", "next", "invoice")]
        await expect(chat.page.locator(".request .hint")).to_have_text("For the driver.")
        await expect(chat.page.get_by_label("Day")).to_have_attribute("type", "date")
        await fill_in(chat)
        assert await answer(chat) == REQUIRED


async def test_what_is_optional_is_sent_where_it_is_filled_in(chat: Chat) -> None:
    with served(ORDER) as url:
        await chat.open(url)
        await chat.ask("A bicycle")
        await fill_in(chat)
        await chat.page.get_by_label("Insured").select_option("no")
        await chat.page.get_by_label("Day").fill("2026-12-31")
        await chat.page.get_by_role("button", name="Add to Tags").click()
        await chat.page.get_by_label("Tags 1").fill("red")
        await chat.page.get_by_label("invoice").check()
        invoice = chat.page.locator("fieldset", has=chat.page.get_by_label("invoice")).last
        await invoice.get_by_label("Street").fill("Side street 2")
        await chat.page.get_by_role("button", name="Answer").click()
        await expect(chat.page.locator(".request .problem")).to_have_text("Zip is missing.")
        await invoice.get_by_label("Zip").fill("7")
        assert await answer(chat) == {
            **REQUIRED,
            "insured": False,
            "day": "2026-12-31",
            "tags": ["red"],
            "invoice": {"street": "Side street 2", "zip": 7},
        }
