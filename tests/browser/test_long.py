"""Conversations that are long, wide, written from right to left, or have items that the page does not know."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import Chat, expect, served

pytestmark = pytest.mark.asyncio(loop_scope="package")  # On which the browser lives.

SEED = """async (turns) => {
    const { newConversation, save } = await import("/playground/store.js");
    const { newTurn } = await import("/playground/turn.js");
    const conversation = newConversation("");
    for (const [text, output] of turns) {
        const content = [{ type: "input_text", text }];
        const turn = newTurn(conversation.leaf, [{ type: "message", role: "user", content }]);
        conversation.turns[turn.id] = { ...turn, status: "completed", output };
        conversation.leaf = turn.id;
    }
    await save(conversation);
}"""

TABLE = """| Region | Q1 | Q2 | Remark | Owner |
|---|---|---|---|---|
| North | 12,000 | 13,000 | Strong in bicycles, weak in helmets because of the long winter, closed on Sundays | Ada |
"""


def message(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


async def show(chat: Chat, turns: list[tuple[str, list[dict[str, Any]]]]) -> None:
    """Open a conversation that the browser has kept."""
    with served("samples/hello/agent.py") as url:
        await chat.open(url)
        await chat.page.evaluate(SEED, turns)
        await chat.page.evaluate("sessionStorage.clear()")
        await chat.page.reload()
        await expect(chat.page.locator(".turn")).to_have_count(len(turns))


async def test_a_wide_table_scrolls_on_a_phone_and_its_sentences_stay_readable(chat: Chat) -> None:
    await chat.page.set_viewport_size({"width": 390, "height": 844})
    await show(chat, [("Figures", [message(TABLE)])])

    frame = chat.last().locator(".table-frame")
    assert await frame.evaluate("(frame) => frame.scrollWidth > frame.clientWidth")
    assert await frame.get_by_text("Strong in").evaluate("(cell) => cell.clientWidth") >= 160
    assert await chat.page.evaluate("document.querySelector('#scroller').scrollWidth") <= 390


async def test_each_block_of_text_has_the_direction_of_its_language(chat: Chat) -> None:
    await show(chat, [("שלום", [message("مرحبا\n\nHello\n\n- أولا\n\n```\nprint(1)\n```")])])

    direction = "(element) => getComputedStyle(element).direction"
    answer = chat.last().locator(".answer")
    assert await chat.last().locator(".bubble p").evaluate(direction) == "rtl"
    assert await answer.get_by_text("مرحبا").evaluate(direction) == "rtl"
    assert await answer.get_by_text("Hello").evaluate(direction) == "ltr"
    assert await answer.get_by_role("listitem").evaluate(direction) == "rtl"
    assert await answer.locator("pre").evaluate(direction) == "ltr"


async def test_a_long_line_stays_within_the_page(chat: Chat) -> None:
    await show(chat, [("x" * 500, [message("y" * 500 + "\n\n```\n" + "z " * 500 + "\n```")])])

    width, room = await chat.page.evaluate("[scroller.scrollWidth, scroller.clientWidth]")
    assert width == room


async def test_an_item_of_an_unknown_kind_is_folded_json(chat: Chat) -> None:
    await show(chat, [("Hi", [{"type": "hologram_call", "status": "completed", "shape": "sphere"}])])

    item = chat.last().locator("details", has_text="hologram_call")
    await expect(item.get_by_text('"shape": "sphere"')).to_be_hidden()
    await item.locator("summary").click()
    await expect(item.get_by_text('"shape": "sphere"')).to_be_visible()


async def test_five_hundred_items_are_shown_from_their_end(chat: Chat) -> None:
    call = {"type": "mcp_call", "server_label": "agent", "name": "get_weather", "arguments": "{}", "output": "snow"}
    await show(chat, [(f"Question {n}", [call, call, call, message(f"Answer **{n}**")]) for n in range(125)])

    await expect(chat.page.locator(".item > *")).to_have_count(500)
    await expect(chat.page.get_by_text("Answer 124")).to_be_in_viewport()
