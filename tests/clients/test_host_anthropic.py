"""An agent on the Anthropic client: what the caller sees, and what the model sees in the next turn."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hosted import Way, follow, hosting, outline
from upstream import Reasoning, Refusal, Text, ToolCall, WebSearch, anthropic_client, turn

from hostedagent.protocol.content.reasoning import seal

PARIS, ROME = ToolCall("weather", {"city": "Paris"}), ToolCall("weather", {"city": "Rome"})
THOUGHT = Reasoning(("I need the weather.",), encrypted="signed-1")


async def test_thinking_streams_as_a_summary_and_goes_back_signed_in_front_of_what_came_of_it() -> None:
    async with hosting(anthropic_client) as host:
        host.script(turn(THOUGHT, Text("Let me look."), PARIS, ROME), Text("Both sunny."), Text("Next."))
        log = await host.ask("Weather?")
        assert outline(log) == [
            "0 reasoning completed",
            "1 message completed",
            '2 mcp_call agent weather "sunny in Paris" completed',
            '3 mcp_call agent weather "sunny in Rome" completed',
            "4 message completed",
            "completed usage=20/10",
        ]
        assert log.items[0]["summary"] == [{"type": "summary_text", "text": "I need the weather."}]
        await host.then("And?")
        assert host.sent == [
            {"role": "user", "content": [_text("Weather?")]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "I need the weather.", "signature": "signed-1"},
                    _text("Let me look."),
                    {"type": "tool_use", "id": "toolu_1_2", "name": "weather", "input": {"city": "Paris"}},
                    {"type": "tool_use", "id": "toolu_1_3", "name": "weather", "input": {"city": "Rome"}},
                ],
            },
            {
                "role": "user",
                "content": [_result("toolu_1_2", "sunny in Paris"), _result("toolu_1_3", "sunny in Rome")],
            },
            {"role": "assistant", "content": [_text("Both sunny.")]},
            {"role": "user", "content": [_text("And?")]},
        ]


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _result(call_id: str, text: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": [_text(text)], "is_error": False}


@pytest.mark.parametrize("way", get_args(Way))
async def test_two_rounds_of_thinking_and_tools_are_retold_in_order_however_the_caller_goes_on(way: Way) -> None:
    async with hosting(anthropic_client) as host:
        again = Reasoning(("Rome, too.",), encrypted="signed-2")
        await follow(host, way, (turn(THOUGHT, PARIS), turn(again, Text("Two."), ROME), turn(Text("Both."))))
        assert host.asked == [
            "user: Hi",
            *("reasoning I need the weather.", 'call weather {"city": "Paris"}', "result sunny in Paris"),
            *("reasoning Rome, too.", "assistant: Two.", 'call weather {"city": "Rome"}', "result sunny in Rome"),
            "assistant: Both.",
            "user: And?",
        ]


async def test_thinking_that_is_not_shown_still_goes_back_with_its_signature() -> None:
    async with hosting(anthropic_client) as host:
        host.script(turn(Reasoning(encrypted="signed-1"), Text("Hm.")), Text("Next."))
        log = await host.ask("Hi")
        await host.then("And?")
        assert log.items[0]["encrypted_content"] == seal("signed-1", None)
        assert host.sent[1]["content"][0] == {"type": "thinking", "thinking": "", "signature": "signed-1"}


async def test_a_refusal_ends_the_turn_as_filtered() -> None:
    async with hosting(anthropic_client) as host:
        host.script(Refusal("I cannot."), Text("Next."))
        log = await host.ask("Hi")
        assert outline(log) == ["0 message incomplete", "incomplete content_filter usage=10/5"]
        await host.then("And?")
        assert host.asked == ["user: Hi", "assistant: I cannot.", "user: And?"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        (
            WebSearch("news", ("https://example.com",)),
            [
                {
                    "type": "web_search_result",
                    "url": "https://example.com",
                    "title": "https://example.com",
                    "page_age": None,
                }
            ],
        ),
        (
            WebSearch("news", status="failed"),
            {"type": "web_search_tool_result_error", "error_code": "unavailable"},
        ),
    ],
    ids=["found", "failed"],
)
async def test_a_search_of_the_web_is_a_call_with_its_results_as_json(search: WebSearch, found: Any) -> None:
    async with hosting(anthropic_client) as host:
        host.script(turn(search, Text("Found.")), Text("Next."))
        log = await host.ask("Hi")
        assert [item["type"] for item in log.items] == ["mcp_call", "message"]
        assert json.loads(log.items[0]["output"]) == found
        await host.then("And?")
        result = f"result {log.items[0]['output']}"
        assert host.asked == ["user: Hi", "call web_search {}", result, "assistant: Found.", "user: And?"]
