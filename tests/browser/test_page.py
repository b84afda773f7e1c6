"""The page's walk, in a real browser on a real server."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.browser.conftest import PICTURE, Chat, expect, served
from tests.samples.server import Restarted

SAMPLES = "samples"
TRAVEL = Path(__file__).parent / "travel_agent.py"


async def test_a_question_is_answered_and_its_tool_shows_arguments_and_result(chat: Chat) -> None:
    with served(f"{SAMPLES}/tools/agent.py") as url:
        await chat.open(url)
        await chat.ask("Please add_numbers 2 and 40.5")
        card = chat.last().locator("details.tool")
        await card.locator("summary").click()
        await expect(card).to_contain_text("40.5", use_inner_text=True)
        await expect(card).to_contain_text("42.5", use_inner_text=True)
        await expect(chat.last().locator(".message")).to_contain_text("42.5", use_inner_text=True)


async def test_a_tools_image_is_shown_and_an_image_of_the_users_is_sent(chat: Chat, tmp_path: Path) -> None:
    picture = tmp_path / "sunset.png"
    picture.write_bytes(PICTURE)
    with served(f"{SAMPLES}/tools/agent.py") as url:
        await chat.open(url)
        await chat.page.set_input_files("#files", picture)
        await chat.page.locator("#attachments li").wait_for()
        await chat.ask("Draw a blue swatch")
        await chat.last().locator("details.tool summary").click()
        images = chat.last().locator("img")
        await expect(images).to_have_count(2)
        for image in await images.all():
            await expect(image).not_to_have_js_property("naturalWidth", 0)


async def test_an_approved_call_runs_and_a_rejected_one_does_not(chat: Chat) -> None:
    with served(f"{SAMPLES}/approvals/agent.py") as url:
        await chat.open(url)
        await chat.ask("Send 5 euros to Ada.")
        await chat.page.get_by_role("button", name="Approve", exact=True).click()
        await chat.page.locator(".message", has_text="sent 5 euros to Ada").wait_for()
        await expect(chat.page.locator(".turn").first.locator("details.asked")).to_contain_text("send_money")
        await chat.page.get_by_role("button", name="New conversation", exact=True).click()
        await chat.ask("Send 7 euros to Ada.")
        await chat.page.get_by_role("button", name="Reject").click()
        await chat.page.get_by_text("Rejected").first.wait_for()
        await chat.ended()
        await expect(chat.page.locator("#turns")).not_to_contain_text("sent 7 euros", use_inner_text=True)


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
        await expect(chat.page.get_by_role("alert")).to_contain_text("2", use_inner_text=True)
        await number.fill("2")
        await answer.click()
        await chat.page.get_by_text("Printed: New bicycles? Take your time.").wait_for()
        await expect(chat.page.locator(".author")).to_have_text(
            ["bold", "calm", "editor", "editor"], use_inner_text=True
        )


async def test_an_edited_message_starts_a_branch_and_both_stay(chat: Chat) -> None:
    with served(f"{SAMPLES}/hello/agent.py") as url:
        await chat.open(url)
        await chat.ask("My name is Ada.")
        await chat.ask("What is my name?")
        await chat.page.locator(".turn").first.get_by_role("button", name="Edit").click()
        await chat.ask("My name is Grace.")
        await chat.ask("What is my name?")
        await expect(chat.last().locator(".message")).to_contain_text("Grace", use_inner_text=True)
        await chat.page.get_by_role("button", name="Previous branch").click()
        await expect(chat.last().locator(".message")).to_contain_text("Ada", use_inner_text=True)


async def test_after_a_reload_the_conversation_is_there_and_goes_on(chat: Chat) -> None:
    with served(f"{SAMPLES}/hello/agent.py") as url:
        await chat.open(url)
        await chat.ask("My name is Ada.")
        await chat.page.reload()
        await expect(chat.last().locator(".message")).to_contain_text("Nice to meet you, Ada.", use_inner_text=True)
        await chat.ask("What is my name?")
        await expect(chat.last().locator(".message")).to_contain_text("Ada", use_inner_text=True)


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


async def test_on_a_phone_the_list_lies_over_the_conversation_until_one_is_chosen(chat: Chat) -> None:
    with served(f"{SAMPLES}/approvals/agent.py") as url:
        await chat.page.set_viewport_size({"width": 390, "height": 800})
        await chat.open(url)
        await chat.ask("Send 5 euros to Ada.")
        await chat.picture("phone")
        names = chat.page.locator("#conversations .name")
        await expect(names).to_be_hidden()
        await chat.page.get_by_role("button", name="Conversations").click()
        await names.click()
        await expect(names).to_be_hidden()
        await expect(chat.page.get_by_role("button", name="Approve", exact=True)).to_be_in_viewport()
        width = await chat.page.evaluate("document.documentElement.scrollWidth")
        assert width == 390  # Nothing has to be scrolled sideways.


async def test_users_do_not_see_each_others_conversations(chat: Chat) -> None:
    with served(f"{SAMPLES}/hello/agent.py") as url:
        await chat.open(url)
        await chat.ask("My name is Ada.")
        await chat.page.fill("#user", "bob")
        await chat.page.press("#user", "Enter")
        await chat.page.locator("#empty").wait_for()
        await chat.ask("What is my name?")
        await expect(chat.page.locator("#turns")).not_to_contain_text("Ada", use_inner_text=True)
        await chat.page.fill("#user", "")
        await chat.page.press("#user", "Enter")
        await chat.page.locator(".message", has_text="Nice to meet you, Ada.").wait_for()


async def test_the_inspector_shows_every_event_and_the_request_as_code(chat: Chat) -> None:
    with served(f"{SAMPLES}/hello/agent.py") as url:
        await chat.open(url)
        await chat.page.click("#toggle-inspector")
        await chat.ask("My name is Ada.")
        rows = chat.page.locator(".events code")
        await expect(rows.first).to_have_text("response.created", use_inner_text=True)
        await expect(rows.last).to_have_text("response.completed", use_inner_text=True)
        await chat.page.get_by_placeholder("Filter").fill("delta")
        await expect(rows.filter(has_not_text="delta")).to_have_count(0)
        await expect(rows).not_to_have_count(0)
        await chat.page.get_by_role("tab", name="Request").click()
        for code in ("curl -N", "from openai import OpenAI"):
            await expect(chat.page.locator("#inspector")).to_contain_text(code, use_inner_text=True)
        python = chat.page.locator("#inspector section", has_text="from openai").locator("code")
        assert ast.dump(ast.parse(await python.inner_text())).count("My name is Ada.") == 1
        await chat.picture("inspector")


async def test_what_was_opened_stays_open_when_the_conversation_goes_on(chat: Chat) -> None:
    with served(f"{SAMPLES}/tools/agent.py") as url:
        await chat.open(url)
        await chat.ask("Please add_numbers 2 and 40.5")
        card = chat.page.locator("details.tool")
        await card.locator("summary").click()
        await chat.ask("Thanks.")
        await expect(card).to_have_attribute("open", "")


async def test_a_conversation_goes_on_after_a_request_that_was_refused(chat: Chat) -> None:
    with served(f"{SAMPLES}/hello/agent.py") as url:
        await chat.open(url)
        await chat.ask("My name is Ada.")
        refusal = '{"error": {"code": "rate_limit_exceeded", "message": "Later."}}'
        await chat.page.route("**/responses", lambda route: route.fulfill(status=429, body=refusal), times=1)
        await chat.ask("What is the weather?")
        await expect(chat.last().get_by_text("429: Later.")).to_be_visible()
        await chat.ask("What is my name?")
        await expect(chat.last().locator(".message")).to_have_text("Your name is Ada.")
        chat.problems.clear()  # The browser reports the refusal.


async def test_what_a_model_writes_cannot_run_as_code(chat: Chat) -> None:
    with served("tests/browser/hostile_agent.py") as url:
        await chat.open(url)
        await chat.ask("hi")
        assert await chat.page.evaluate("globalThis.attacked ?? null") is None
        links = await chat.last().locator(".message a").evaluate_all("all => all.map(one => one.href)")
        assert not [link for link in links if re.match(r"(?i)javascript:|data:", link)]
        await expect(chat.last().locator(".message")).to_contain_text("bold")  # The end of the answer.
        assert await chat.last().locator(".message :is(script, iframe, form, style)").count() == 0
        chat.problems.clear()  # The browser reports what the policy refused.


async def test_the_inspector_shows_the_spans_of_a_turn_and_what_the_model_was_sent(chat: Chat) -> None:
    with served(f"{SAMPLES}/tools/agent.py") as url:
        await chat.open(url)
        await chat.page.click("#toggle-inspector")
        await chat.ask("Please add_numbers 2 and 40.5")
        await chat.page.get_by_role("tab", name="Trace").click()
        names = chat.page.locator(".span-name")
        await expect(names.filter(has_text="execute_tool add_numbers")).to_have_count(1)
        await expect(names.filter(has_text=re.compile("^chat"))).to_have_count(2)
        await chat.page.get_by_role("tab", name="Model").click()
        await expect(chat.page.locator(".said li", has_text="user").first).to_contain_text(
            "Please add_numbers 2 and 40.5"
        )
        for shown in ("Call 2", "calls add_numbers", "42.5"):
            await expect(chat.page.locator("#inspector")).to_contain_text(shown, use_inner_text=True)


async def test_the_graph_of_a_workflow_lights_up_what_has_run(chat: Chat) -> None:
    with served(f"{SAMPLES}/workflow/agent.py") as url:
        await chat.open(url)
        await chat.page.click("#toggle-inspector")
        executors = chat.page.get_by_role("list", name="Executors").locator("li")
        names = ("desk", "bold", "calm", "editor")
        await expect(executors).to_have_text([f"{name} has not run" for name in names], use_inner_text=True)
        await chat.ask("New bicycles")
        await chat.page.locator(".graph .node.done[data-executor=editor]").wait_for()
        await expect(chat.page.locator(".graph .edge.done")).to_have_count(4)
        await chat.picture("graph")
        await chat.page.get_by_label("Number").fill("1")
        await chat.page.get_by_role("button", name="Answer").click()
        await chat.page.get_by_text("Printed: New bicycles? Go big!").wait_for()
        await executors.filter(has_text="editor ran").wait_for()
        await executors.filter(has_text="bold has not run").wait_for()


async def test_an_executor_that_runs_is_lit_while_it_runs(chat: Chat, tmp_path: Path) -> None:
    with served("tests/browser/waiting_workflow.py", GO=str(tmp_path / "go")) as url:
        await chat.open(url)
        await chat.page.click("#toggle-inspector")
        await chat.page.fill("#message", "hi")
        await chat.page.press("#message", "Enter")
        await chat.page.locator(".graph .node.running[data-executor=second]").wait_for()
        await expect(chat.page.locator(".graph .node.done[data-executor=first]")).to_have_count(1)
        (tmp_path / "go").touch()
        await chat.page.locator(".graph .node.done[data-executor=second]").wait_for()
        await chat.leave()


async def test_agents_that_write_at_the_same_time_stand_side_by_side(chat: Chat) -> None:
    with served(f"{SAMPLES}/workflow/agent.py") as url:
        await chat.open(url)
        await chat.ask("New bicycles")
        row = chat.last().locator(".lanes").first
        await expect(row.locator(".author")).to_have_text(["bold", "calm"], use_inner_text=True)
        boxes = [await lane.bounding_box() for lane in await row.locator(".lane").all()]
        assert boxes[0] and boxes[1] and boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] < boxes[1]["x"]
        await chat.picture("lanes")


async def test_a_typed_start_is_a_form_that_checks_its_value(chat: Chat) -> None:
    with served("tests/browser/typed_agent.py") as url:
        await chat.open(url)
        await expect(chat.page.locator("#message")).to_be_hidden()
        await chat.page.get_by_label("Product").fill("bicycles")
        await chat.page.get_by_role("button", name="Start").click()
        await expect(chat.page.locator("#problem")).to_contain_text("Amount", use_inner_text=True)
        await chat.page.get_by_label("Amount").fill("3")
        await chat.page.get_by_label("Speed").select_option("fast")
        await chat.picture("start")
        await chat.page.get_by_role("button", name="Start").click()
        await chat.page.locator(".message", has_text="3 x bicycles, fast").wait_for()


async def test_a_running_turn_goes_on_after_the_server_was_killed_and_started_again(chat: Chat, tmp_path: Path) -> None:
    server = Restarted(TRAVEL, tmp_path)
    try:
        await chat.open(server.url)
        await chat.page.fill("#message", "Write a guide.")
        await chat.page.press("#message", "Enter")
        await chat.last().locator("details.tool").wait_for()
        server.crash()
        await chat.page.get_by_text("The connection was lost.").first.wait_for()
        (tmp_path / "go").touch()
        server.start()
        await chat.page.locator(".message", has_text="Your guide is ready: 12 pages").wait_for()
        await chat.ended()
        await chat.ask("Thanks.")
        await expect(chat.last().locator(".message")).to_contain_text("Gladly.", use_inner_text=True)
        chat.problems.clear()  # The browser reports the refused connections.
        await chat.leave()
    finally:
        server.end()


async def test_an_approval_for_good_is_not_asked_again(chat: Chat, tmp_path: Path) -> None:
    server = Restarted(TRAVEL, tmp_path)
    try:
        await chat.open(server.url)
        await chat.ask("Book the tram for two.")
        await chat.page.get_by_role("button", name="Approve and do not ask again").click()
        await chat.page.locator(".message", has_text="Booked: Tram 28 for 2").wait_for()
        await chat.ended()
        await chat.ask("Book the tram for two.")
        await expect(chat.last().locator(".message")).to_contain_text("Booked: Tram 28 for 2", use_inner_text=True)
        await expect(chat.last().locator(".request")).to_have_count(0)
        await chat.leave()
    finally:
        server.end()


async def test_a_running_turn_is_steered_and_goes_on_from_what_it_did(chat: Chat, tmp_path: Path) -> None:
    server = Restarted(TRAVEL, tmp_path)
    try:
        await chat.open(server.url)
        await chat.page.fill("#message", "Check the weather, then write a guide.")
        await chat.page.press("#message", "Enter")
        await chat.last().locator("details.tool", has_text="write_guide").wait_for()
        await chat.page.fill("#message", "No guide, just a packing list.")
        await chat.page.get_by_role("button", name="Steer").click()
        await chat.page.locator(".message", has_text="(1 result kept.)").wait_for()
        await chat.ended()
        said = "Continues with 1 item of the interrupted turn."
        await expect(chat.last().locator(".input")).to_contain_text(said, use_inner_text=True)
        await chat.picture("steer")
        await chat.page.get_by_role("button", name="Previous branch").click()
        await chat.page.get_by_text("Stopped.").wait_for()
        await chat.leave()
    finally:
        server.end()


async def test_a_conversation_is_listed_from_its_first_message_on_and_there_is_one_new_one(chat: Chat) -> None:
    with served(f"{SAMPLES}/hello/agent.py") as url:
        await chat.open(url)
        new = chat.page.get_by_role("button", name="New conversation", exact=True)
        listed = chat.page.locator("#conversations li")
        for _ in range(2):
            await new.click()
            await expect(listed).to_have_text(["No conversations yet"])
        await expect(new).to_have_attribute("aria-current", "true")
        await chat.ask("My name is Ada.")
        await expect(listed).to_have_text(["My name is Ada."])
        await expect(new).not_to_have_attribute("aria-current", "true")
        await new.click()
        await expect(listed).to_have_text(["My name is Ada."])
        await listed.get_by_role("button", name="My name is Ada.", exact=True).click()
        await expect(chat.page.locator(".turn")).to_have_count(1)


async def test_durations_are_shown_in_the_unit_that_fits(chat: Chat) -> None:
    with served(f"{SAMPLES}/hello/agent.py") as url:
        await chat.open(url)
        shown = "import('/playground/dom.js').then(dom => [0.34, 2, 42.4, 16193].map(dom.timeText))"
        assert await chat.page.evaluate(shown) == ["0.3 ms", "2 ms", "42 ms", "16.2 s"]


async def test_a_deleted_conversation_is_gone_and_so_are_its_responses(chat: Chat) -> None:
    with served(f"{SAMPLES}/hello/agent.py") as url:
        await chat.open(url)
        await chat.ask("My name is Ada.")
        created = await chat.page.evaluate(
            "fetch('playground/settings.json').then(() => new Promise(done => { const open ="
            " indexedDB.open('hostedagent'); open.onsuccess = () => { const all = open.result.transaction("
            "'conversations').objectStore('conversations').getAll(); all.onsuccess = () =>"
            " done(Object.values(all.result[0].turns)[0].responseId) } }))"
        )
        assert (await chat.page.request.get(f"{url}/responses/{created}")).status == 200
        chat.page.on("dialog", lambda dialog: dialog.accept())
        await chat.page.get_by_role("button", name="Delete My name is Ada.").click()
        await chat.page.locator("#empty").wait_for()
        assert (await chat.page.request.get(f"{url}/responses/{created}")).status == 404
        await chat.page.reload()
        await chat.page.locator("#empty").wait_for()
