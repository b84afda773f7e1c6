"""Tools that the caller runs, called by agents inside a workflow."""

from __future__ import annotations

from typing import Any

from agent_framework import Content, tool

from hostedagent.testing import OfflineChatClient
from tests.host.world import assert_refusal, hosting
from tests.workflows.flows import calls, output, say, talking, texts, turn

OPEN_PAGE = {
    "type": "function",
    "name": "open_page",
    "description": "Open a page.",
    "parameters": {"type": "object", "properties": {"page": {"type": "string"}}, "required": ["page"]},
}
ASKED = Content.from_function_call("c1", "open_page", arguments='{"page": "Settings"}')


async def test_a_tool_of_the_caller_is_called_once_and_its_output_resumes_the_workflow() -> None:
    first, second = OfflineChatClient(script=[ASKED, "shown"]), OfflineChatClient(script=["noted"])
    async with hosting(lambda: talking(first, second)) as client:
        asked = await turn(client, "settings please", tools=[OPEN_PAGE])
        assert [item["type"] for item in asked["output"]] == ["function_call"]
        assert asked["output"][0]["arguments"] == '{"page": "Settings"}'

        answered = await turn(client, [output("c1", "it is open")], previous_response_id=asked["id"], tools=[OPEN_PAGE])

    assert texts(answered) == ["shown", "noted"]
    assert first.calls[1].transcript == [
        "user: settings please",
        'assistant: -> open_page({"page": "Settings"})',
        "tool: <- it is open",
    ]


async def test_a_call_that_waits_for_its_output_takes_nothing_else() -> None:
    first = OfflineChatClient(script=[ASKED, "shown"])
    async with hosting(lambda: talking(first)) as client:
        asked = await turn(client, "settings please", tools=[OPEN_PAGE], conversation="conv_1")
        refused = await say(client, "well?", conversation="conv_1", tools=[OPEN_PAGE])
        assert calls(asked)["open_page"] in assert_refusal(refused, 400)["message"]

        answered = await turn(client, [output("c1", "open")], conversation="conv_1", tools=[OPEN_PAGE])
        assert_refusal(await say(client, [output("c1", "open")], conversation="conv_1", tools=[OPEN_PAGE]), 400)

    assert texts(answered) == ["shown"]


async def test_tools_of_the_agent_and_of_the_caller_are_called_in_one_turn() -> None:
    ran: list[str] = []

    @tool
    def find_page(name: str) -> str:
        """Find a page."""
        ran.append(name)
        return f"page {name}"

    both: list[Any] = [Content.from_function_call("c0", "find_page", arguments='{"name": "x"}'), ASKED]
    model = OfflineChatClient(script=[both, "done"])
    async with hosting(lambda: talking(model, tools=[find_page])) as client:
        asked = await turn(client, "settings please", tools=[OPEN_PAGE])
        assert "open_page" in calls(asked)
        answered = await turn(client, [output("c1", "open")], previous_response_id=asked["id"], tools=[OPEN_PAGE])

    assert ran == ["x"]
    assert texts(answered) == ["done"]
    assert [line.partition(" ")[0] for line in model.calls[1].transcript] == [
        "user:",
        "assistant:",
        "assistant:",
        "tool:",
        "tool:",
    ]


async def test_a_tool_with_the_name_of_an_inner_agents_tool_is_refused() -> None:
    @tool
    def open_page(page: str) -> str:
        """Open a page."""
        return page

    async with hosting(lambda: talking(OfflineChatClient(script=["x"]), tools=[open_page])) as client:
        reply = await say(client, "a", tools=[OPEN_PAGE])

    assert reply.json()["status"] == "failed"
    assert "open_page" in reply.json()["error"]["message"]
