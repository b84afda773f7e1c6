"""The page's walk, in a real browser on a real server."""

from __future__ import annotations

import re
from pathlib import Path

from tests.browser.conftest import Chat
from tests.samples.server import served

SAMPLES = "samples"
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c63606060f80f00010401005fe5c34b0000000049454e44ae426082"
)


async def test_a_question_is_answered_and_its_tool_shows_arguments_and_result(chat: Chat) -> None:
    with served(f"{SAMPLES}/tools/agent.py") as url:
        await chat.open(url)
        await chat.ask("Please add_numbers 2 and 40.5")
        card = chat.last().locator("details.tool")
        await card.locator("summary").click()
        shown = await card.inner_text()
        assert "40.5" in shown and "42.5" in shown
        assert "42.5" in await chat.last().locator(".message").inner_text()
        await chat.picture("tool")


async def test_a_tools_image_is_shown_and_an_image_of_the_users_is_sent(chat: Chat, tmp_path: Path) -> None:
    picture = tmp_path / "pixel.png"
    picture.write_bytes(PIXEL)
    with served(f"{SAMPLES}/tools/agent.py") as url:
        await chat.open(url)
        await chat.page.set_input_files("#files", picture)
        await chat.page.locator("#attachments li").wait_for()
        await chat.ask("Draw a blue swatch")
        await chat.last().locator("details.tool summary").click()
        images = await chat.last().locator("img").evaluate_all("all => all.map(one => one.naturalWidth > 0)")
        assert images == [True, True]
        await chat.picture("images")


async def test_an_approved_call_runs_and_a_rejected_one_does_not(chat: Chat) -> None:
    with served(f"{SAMPLES}/approvals/agent.py") as url:
        await chat.open(url)
        await chat.ask("Send 5 euros to Ada.")
        await chat.picture("approval")
        await chat.page.get_by_role("button", name="Approve", exact=True).click()
        await chat.page.locator(".message", has_text="sent 5 euros to Ada").wait_for()
        await chat.page.get_by_role("button", name="New conversation", exact=True).click()
        await chat.ask("Send 7 euros to Ada.")
        await chat.page.get_by_role("button", name="Reject").click()
        await chat.page.get_by_text("Rejected").first.wait_for()
        await chat.ended()
        assert "sent 7 euros" not in await chat.page.locator("#turns").inner_text()


async def test_a_tool_that_is_always_approved_asks_once(chat: Chat) -> None:
    with served(f"{SAMPLES}/approvals/agent.py") as url:
        await chat.open(url)
        await chat.ask("Send 5 euros to Ada.")
        await chat.page.get_by_role("button", name="Always for this tool").click()
        await chat.page.locator(".message", has_text="sent 5 euros to Ada").wait_for()
        await chat.ended()
        await chat.page.fill("#message", "Send 3 euros to Grace.")
        await chat.page.press("#message", "Enter")
        await chat.page.locator(".message", has_text="sent 3 euros to Grace").wait_for()


async def test_a_workflows_question_is_a_form_that_checks_its_answer(chat: Chat) -> None:
    with served(f"{SAMPLES}/workflow/agent.py") as url:
        await chat.open(url)
        await chat.ask("New bicycles")
        number = chat.page.get_by_label("Number")
        answer = chat.page.get_by_role("button", name="Answer")
        await number.fill("3")
        await answer.click()
        assert "2" in await chat.page.get_by_role("alert").inner_text()
        await chat.picture("form")
        await number.fill("2")
        await answer.click()
        await chat.page.get_by_text("Printed: New bicycles? Take your time.").wait_for()
        assert await chat.page.locator(".author").all_inner_texts() == ["bold", "calm", "editor"]


async def test_an_edited_message_starts_a_branch_and_both_stay(chat: Chat) -> None:
    with served(f"{SAMPLES}/hello/agent.py") as url:
        await chat.open(url)
        await chat.ask("My name is Ada.")
        await chat.ask("What is my name?")
        await chat.page.locator(".turn").first.get_by_role("button", name="Edit").click()
        await chat.ask("My name is Grace.")
        await chat.ask("What is my name?")
        assert "Grace" in await chat.last().locator(".message").inner_text()
        await chat.page.get_by_role("button", name="Previous branch").click()
        assert "Ada" in await chat.last().locator(".message").inner_text()
        await chat.picture("branches")


async def test_after_a_reload_the_conversation_is_there_and_goes_on(chat: Chat) -> None:
    with served(f"{SAMPLES}/hello/agent.py") as url:
        await chat.open(url)
        await chat.ask("My name is Ada.")
        await chat.page.reload()
        await chat.ask("What is my name?")
        assert "Ada" in await chat.last().locator(".message").inner_text()


async def test_a_running_turn_is_followed_again_after_a_reload_and_can_be_stopped(chat: Chat) -> None:
    with served(f"{SAMPLES}/background/agent.py") as url:
        await chat.open(url)
        await chat.page.fill("#message", "A long report, please.")
        await chat.page.press("#message", "Enter")
        await chat.last().locator(".card").first.wait_for()
        await chat.page.reload()
        await chat.last().locator(".card").first.wait_for()
        await chat.page.get_by_role("button", name="Stop").click()
        await chat.page.get_by_text("Stopped.").wait_for()


async def test_users_do_not_see_each_others_conversations(chat: Chat) -> None:
    with served(f"{SAMPLES}/hello/agent.py") as url:
        await chat.open(url)
        await chat.ask("My name is Ada.")
        await chat.page.fill("#user", "bob")
        await chat.page.press("#user", "Enter")
        await chat.page.locator("#empty").wait_for()
        await chat.ask("What is my name?")
        assert "Ada" not in await chat.page.locator("#turns").inner_text()
        await chat.page.fill("#user", "")
        await chat.page.press("#user", "Enter")
        await chat.page.locator(".message", has_text="Nice to meet you, Ada.").wait_for()


async def test_the_inspector_shows_every_event_and_the_request_as_code(chat: Chat) -> None:
    with served(f"{SAMPLES}/hello/agent.py") as url:
        await chat.open(url)
        await chat.page.click("#toggle-inspector")
        await chat.ask("My name is Ada.")
        rows = await chat.page.locator(".events code").all_inner_texts()
        assert rows[0] == "response.created" and rows[-1] == "response.completed"
        await chat.page.get_by_placeholder("Filter").fill("delta")
        shown = await chat.page.locator(".events code").all_inner_texts()
        assert shown and all("delta" in row for row in shown)
        await chat.page.get_by_role("tab", name="Request").click()
        code = await chat.page.locator("#inspector").inner_text()
        assert "curl -N" in code and "from openai import OpenAI" in code
        await chat.picture("inspector")


async def test_what_a_model_writes_cannot_run_as_code(chat: Chat) -> None:
    with served("tests/browser/hostile_agent.py") as url:
        await chat.open(url)
        await chat.ask("hi")
        assert await chat.page.evaluate("globalThis.attacked ?? null") is None
        links = await chat.last().locator(".message a").evaluate_all("all => all.map(one => one.href)")
        assert not [link for link in links if re.match(r"(?i)javascript:|data:", link)]
        assert await chat.last().locator(".message :is(script, iframe, form, style)").count() == 0
        chat.problems.clear()  # The browser reports what the policy refused.


async def test_the_inspector_shows_the_spans_of_a_turn_and_what_the_model_was_sent(chat: Chat) -> None:
    with served(f"{SAMPLES}/tools/agent.py") as url:
        await chat.open(url)
        await chat.page.click("#toggle-inspector")
        await chat.ask("Please add_numbers 2 and 40.5")
        await chat.page.get_by_role("tab", name="Trace").click()
        names = await chat.page.locator(".span-name").all_inner_texts()
        assert "execute_tool add_numbers" in names
        assert sum(name.startswith("chat") for name in names) == 2
        await chat.picture("trace")
        await chat.page.get_by_role("tab", name="Model").click()
        await chat.page.locator("#inspector").get_by_text("Call 2").first.wait_for()
        shown = await chat.page.locator("#inspector").inner_text()
        assert "Please add_numbers 2 and 40.5" in shown and "Call 2" in shown
