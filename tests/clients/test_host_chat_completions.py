"""An agent on the Chat Completions client: what the caller sees, and what the model sees in the next turn."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hosted import Way, follow, hosting, outline
from upstream import Message, Part, Refusal, Text, ToolCall, chat_completion_client, turn

PARIS, ROME = ToolCall("weather", {"city": "Paris"}), ToolCall("weather", {"city": "Rome"})


async def test_two_calls_of_one_answer_go_back_as_one_message_with_both_results_behind_it() -> None:
    async with hosting(chat_completion_client) as host:
        host.script(turn(Text("Let me look."), PARIS, ROME), Text("Both sunny."), Text("Next."))
        log = await host.ask("Weather?")
        assert outline(log) == [
            "0 message completed",
            '1 mcp_call agent weather "sunny in Paris" completed',
            '2 mcp_call agent weather "sunny in Rome" completed',
            "3 message completed",
            "completed usage=20/10",
        ]
        await host.then("And?")
        assert host.sent == [
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "Let me look.",
                "tool_calls": [_call("call_1_1", "Paris"), _call("call_1_2", "Rome")],
            },
            {"role": "tool", "tool_call_id": "call_1_1", "content": "sunny in Paris"},
            {"role": "tool", "tool_call_id": "call_1_2", "content": "sunny in Rome"},
            {"role": "assistant", "content": "Both sunny."},
            {"role": "user", "content": "And?"},
        ]


def _call(call_id: str, city: str) -> dict[str, Any]:
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": "weather", "arguments": f'{{"city": "{city}"}}'},
    }


@pytest.mark.parametrize("way", get_args(Way))
async def test_two_rounds_of_tools_are_retold_in_order_however_the_caller_goes_on(way: Way) -> None:
    async with hosting(chat_completion_client) as host:
        await follow(host, way, (turn(Text("One."), PARIS), turn(Text("Two."), ROME), turn(Text("Both."))))
        assert host.asked == [
            "user: Hi",
            *("assistant: One.", 'call weather {"city": "Paris"}', "result sunny in Paris"),
            *("assistant: Two.", 'call weather {"city": "Rome"}', "result sunny in Rome"),
            "assistant: Both.",
            "user: And?",
        ]


@pytest.mark.parametrize(
    ("part", "kind", "retold"),
    [
        # Chat Completions knows one text for an answer.
        (Message((Text("One "), Text("two."))), "output_text", ["assistant: One two."]),
        (Refusal("I cannot."), "refusal", ["refusal: I cannot."]),
    ],
    ids=["two texts", "refusal"],
)
async def test_what_the_model_says_is_one_message(part: Part, kind: str, retold: list[str]) -> None:
    async with hosting(chat_completion_client) as host:
        host.script(part, Text("Next."))
        log = await host.ask("Hi")
        await host.then("And?")
        assert [part["type"] for part in log.items[0]["content"]] == [kind]
        assert host.asked == ["user: Hi", *retold, "user: And?"]
