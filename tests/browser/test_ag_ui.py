"""samples/ag_ui in a real browser: the page, and the protocol's own client in it, against a host in this process."""

from __future__ import annotations

import asyncio
import json
import runpy
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from hostedagent.testing import Gate, OfflineChatClient
from tests.host.approving import call
from tests.host.test_websocket_client import Address, serving_app
from tests.patience import PATIENCE
from tests.samples.server import ROOT

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="package")  # On which the browser lives.

SAMPLE = runpy.run_path(str(ROOT / "samples/ag_ui/agent.py"))

if not (SAMPLE["MODULES"] / "@ag-ui/client").is_dir():
    pytest.skip(
        "no client: npm install --no-save @ag-ui/client, or set HOSTEDAGENT_AG_UI to the folder that has it",
        allow_module_level=True,
    )


@asynccontextmanager
async def visiting(
    browser: Browser, model: OfflineChatClient, *, problem: str = ""
) -> AsyncGenerator[tuple[Page, Address]]:
    """The page, once its client is there. It has no problem but the one that the test makes."""
    page = await browser.new_page()
    page.set_default_timeout(PATIENCE * 1_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(error.message))
    async with serving_app(SAMPLE["make_host"](model).app) as address:
        await page.goto(f"http://{address}/")
        await says(page, "Ready")
        yield page, address
        await page.close()  # So that no connection is kept alive.
    assert set(problems) <= {problem}


async def says(page: Page, status: str) -> None:
    """Wait for the page's status."""
    await page.get_by_role("status").filter(has_text=status).wait_for()


async def send(page: Page, text: str) -> None:
    await page.get_by_label("Message").fill(text)
    await page.get_by_role("button", name="Send").click()


async def lines(page: Page) -> list[tuple[str, str]]:
    """Who said what, as the page shows it."""
    shown: list[list[str]] = await page.locator("#messages li").evaluate_all(
        "rows => rows.map(row => [row.dataset.role, row.textContent])"
    )
    return [(role, text) for role, text in shown]


async def test_an_answer_is_shown_while_it_comes(browser: Browser) -> None:
    gate = Gate()
    async with visiting(browser, OfflineChatClient(script=[["Hel", gate, "lo."]])) as (page, _):
        await send(page, "hi")
        await page.locator("li[data-role=assistant]", has_text="Hel").wait_for()
        during = await lines(page)
        gate.open()
        await says(page, "Ready")
        after = await lines(page)

    assert (during, after) == (
        [("user", "hi"), ("assistant", "Hel")],
        [("user", "hi"), ("assistant", "Hello.")],
    )


async def test_the_agent_calls_its_own_tools_and_those_of_the_page(browser: Browser) -> None:
    script: list[Any] = [
        [call("c1", "get_weather", city="Oslo")],
        ["Snow."],
        [call("c2", "set_background", color="lavender")],
        ["It is lavender now."],
    ]
    model = OfflineChatClient(script=script)
    async with visiting(browser, model) as (page, _):
        await send(page, "weather?")
        await says(page, "Ready")
        await send(page, "lavender, please")
        await page.locator("li", has_text="It is lavender now.").wait_for()
        await says(page, "Ready")
        shown = await lines(page)
        paper = await page.evaluate("getComputedStyle(document.body).backgroundColor")

    assert [(role, text.replace(" ", "")) for role, text in shown] == [
        ("user", "weather?"),
        ("call", 'get_weather{"city":"Oslo"}'),
        ("tool", "snow,-3degrees"),
        ("assistant", "Snow."),
        ("user", "lavender,please"),
        ("call", 'set_background{"color":"lavender"}'),
        ("tool", "Thebackgroundislavender."),
        ("assistant", "Itislavendernow."),
    ]
    assert paper == "rgb(230, 230, 250)"
    assert sum("The background is lavender." in line for line in model.calls[-1].transcript) == 1


@pytest.mark.parametrize(("button", "ran"), [("Allow", True), ("Refuse", False)])
async def test_the_page_asks_before_a_tool_runs_that_needs_an_approval(
    browser: Browser, button: str, ran: bool
) -> None:
    model = OfflineChatClient(script=[[call("c1", "send_money", recipient="Ada", amount=5)], ["Done."], ["Bye."]])
    async with visiting(browser, model) as (page, _):
        await send(page, "pay Ada")
        await says(page, "Waiting for an answer")
        legend = await page.locator("legend").inner_text()
        await page.get_by_role("button", name=button).click()
        await page.locator("li", has_text="Done.").wait_for()
        await says(page, "Ready")
        await send(page, "bye")
        await page.locator("li", has_text="Bye.").wait_for()
        shown = json.dumps(await lines(page))

    assert legend == "Allow send_money?" and ("sent 5 euros to Ada" in shown) == ran
    users = [line for line in model.calls[-1].transcript if line.startswith("user")]
    assert users == ["user: pay Ada", "user: bye"]


async def test_a_run_whose_connection_is_cut_is_read_again_and_runs_once(browser: Browser) -> None:
    gate = Gate()
    model = OfflineChatClient(script=[["Hel", gate, "lo."], ["Again."]])
    async with visiting(browser, model, problem="network error") as (page, address):
        await send(page, "hi")
        await page.locator("li[data-role=assistant]", has_text="Hel").wait_for()
        answered = asyncio.ensure_future(page.wait_for_event("response", lambda reply: reply.url.endswith("/ag-ui")))
        address.drop()
        await answered  # The page reads the run for the second time.
        gate.open()
        await says(page, "Ready")
        first = await lines(page)
        await send(page, "again")
        await page.locator("li", has_text="Again.").wait_for()

    assert first == [("user", "hi"), ("assistant", "Hello.")]
    assert [one.transcript for one in model.calls] == [["user: hi"], ["user: hi", "assistant: Hello.", "user: again"]]
