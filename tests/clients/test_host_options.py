"""The caller's options and tools: each client gets what its provider takes, in its provider's form, and no more."""

from __future__ import annotations

from typing import Any

import pytest
from hosted import CLIENTS, hosting, outline
from upstream import Text, ToolCall, turn

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
JSON_SCHEMA: dict[str, Any] = {"name": "place", "schema": SCHEMA, "strict": True}
ALLOWED: dict[str, Any] = {"type": "allowed_tools", "tools": [{"type": "function", "name": "weather"}]}
ENCRYPTED = "reasoning.encrypted_content"

Sent = dict[str, Any]
# What the caller sends; then what is different in the request to Responses, Chat Completions and Anthropic.
OPTIONS: dict[str, tuple[Sent, Sent, Sent, Sent]] = {
    "temperature": ({"temperature": 0.5}, {"temperature": 0.5}, {"temperature": 0.5}, {}),
    "top_p": ({"top_p": 0.5}, {"top_p": 0.5}, {"top_p": 0.5}, {}),
    "max_output_tokens": (
        {"max_output_tokens": 77},
        {"max_output_tokens": 77},
        {"max_completion_tokens": 77},
        {"max_tokens": 77},
    ),
    "penalties": (
        {"extra_body": {"presence_penalty": 0.1, "frequency_penalty": 0.2}},
        {},
        {"presence_penalty": 0.1, "frequency_penalty": 0.2},
        {},
    ),
    "parallel_tool_calls": (
        {"parallel_tool_calls": False},
        {"parallel_tool_calls": False},
        {"parallel_tool_calls": False},
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    ),
    "tool_choice none": (
        {"tool_choice": "none"},
        {"tool_choice": "none"},
        {"tool_choice": "none"},
        {"tool_choice": {"type": "none"}},
    ),
    "tool_choice auto": ({"tool_choice": "auto"}, {}, {}, {}),
    "tool_choice required": (
        {"tool_choice": "required"},
        {"tool_choice": "required"},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "any"}},
    ),
    "tool_choice of a function": (
        {"tool_choice": {"type": "function", "name": "weather"}},
        {"tool_choice": {"type": "function", "name": "weather"}},
        {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {"tool_choice": {"type": "tool", "name": "weather"}},
    ),
    # Only the Responses API can narrow the tools; the other clients keep the mode.
    "allowed tools": (
        {"tool_choice": {**ALLOWED, "mode": "required"}},
        {"tool_choice": {**ALLOWED, "mode": "required"}},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "any"}},
    ),
    "json_schema": (
        {"text": {"format": {"type": "json_schema", **JSON_SCHEMA}}},
        {"text": {"format": {"type": "json_schema", **JSON_SCHEMA}}},
        {"response_format": {"type": "json_schema", "json_schema": JSON_SCHEMA}},
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    ),
    "json_object": (
        {"text": {"format": {"type": "json_object"}}},
        {"text": {"format": {"type": "json_object"}}},
        {"response_format": {"type": "json_object"}},
        {},
    ),
    "text": ({"text": {"format": {"type": "text"}}}, {}, {}, {}),
    "verbosity": ({"text": {"verbosity": "low"}}, {"text": {"verbosity": "low"}}, {"verbosity": "low"}, {}),
    "reasoning": (
        {"reasoning": {"effort": "low", "summary": "auto"}},
        {"reasoning": {"effort": "low", "summary": "auto"}},
        {},
        {},
    ),
    "include": (
        {"include": ["message.output_text.logprobs"]},
        {"include": ["message.output_text.logprobs", ENCRYPTED]},
        {},
        {},
    ),
    "top_logprobs": ({"top_logprobs": 3}, {"top_logprobs": 3}, {"top_logprobs": 3, "logprobs": True}, {}),
    "truncation": ({"truncation": "auto"}, {"truncation": "auto"}, {}, {}),
    "user": ({"user": "me"}, {"user": "me"}, {"user": "me"}, {}),
    "max_tool_calls": ({"max_tool_calls": 4}, {"max_tool_calls": 4}, {}, {}),
    "prompt_cache_key": ({"prompt_cache_key": "k"}, {"prompt_cache_key": "k"}, {}, {}),
    "safety_identifier": ({"safety_identifier": "s"}, {"safety_identifier": "s"}, {}, {}),
    "service_tier": ({"service_tier": "flex"}, {}, {}, {}),
    "metadata": ({"metadata": {"a": "b"}}, {}, {}, {}),
    "model": ({}, {}, {}, {}),
}
CONVERSATION = ("input", "messages")


@pytest.mark.parametrize(("place", "client"), list(enumerate(CLIENTS)), ids=CLIENTS.keys())
async def test_an_option_reaches_the_service_in_its_own_form_or_not_at_all(place: int, client: str) -> None:
    async with hosting(CLIENTS[client]) as host:
        host.script(*(Text("{}") for _ in range(len(OPTIONS) + 1)))
        await host.ask("Hi")
        plain = {key: value for key, value in host.upstream.requests[0].items() if key not in CONVERSATION}
        for name, (given, *expected) in OPTIONS.items():
            log = await host.ask("Hi", **given)
            assert log.status == "completed", name
            body = {key: value for key, value in host.upstream.requests[-1].items() if key not in CONVERSATION}
            assert body == {**plain, **expected[place]}, name


async def test_the_response_repeats_the_options_and_names_the_model_that_answered() -> None:
    async with hosting() as host:
        host.script(Text("{}"))
        given: dict[str, Any] = {"temperature": 0.5, "max_output_tokens": 77, "user": "me", "metadata": {"a": "b"}}
        log = await host.ask("Hi", text={"format": {"type": "json_schema", **JSON_SCHEMA}}, **given)
    assert {key: log.response[key] for key in given} == given
    assert log.response["text"]["format"]["schema"] == SCHEMA
    assert log.response["model"] == "model-1"


async def test_nothing_is_stored_at_the_service_and_encrypted_reasoning_is_asked_for() -> None:
    async with hosting() as host:
        host.script(Text("Hm."))
        await host.ask("Hi")
        assert (host.upstream.requests[0]["store"], host.upstream.requests[0]["include"]) == (False, [ENCRYPTED])


CLOCK: dict[str, Any] = {
    "type": "function",
    "name": "clock",
    "description": "Tells the time.",
    "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]},
    "strict": None,
}
every_client = pytest.mark.parametrize("connect", CLIENTS.values(), ids=CLIENTS.keys())


def answer(call: Any, output: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call["call_id"], "output": output}


@every_client
@pytest.mark.parametrize("way", ["previous_response_id", "conversation", "stateless"])
async def test_a_call_of_the_callers_tool_is_surfaced_and_its_output_resumes_the_turn(connect: Any, way: str) -> None:
    async with hosting(connect) as host:
        host.script(turn(ToolCall("clock", {"zone": "UTC"})), Text("It is noon."))
        body: dict[str, Any] = {"tools": [CLOCK]}
        if way == "conversation":
            body["conversation"] = "conv_1"
        log = await host.ask("What time?", store=way != "stateless", **body)
        assert outline(log) == ["0 function_call clock call-1 completed", "completed usage=10/5"]
        assert log.items[0]["arguments"] == '{"zone": "UTC"}'
        output = answer(log.items[0], "12:00")
        if way == "stateless":
            given = [{"role": "user", "content": "What time?"}, *log.items, output]
            log = await host.ask(given, store=False, **body)
        else:
            log = await (host.ask([output], **body) if way == "conversation" else host.then([output], **body))
        assert outline(log) == ["0 message completed", "completed usage=10/5"]
        assert host.asked == ["user: What time?", 'call clock {"zone": "UTC"}', "result 12:00"]


@every_client
async def test_a_server_tool_and_a_callers_tool_called_together_are_both_answered(connect: Any) -> None:
    async with hosting(connect) as host:
        calls = turn(ToolCall("weather", {"city": "Paris"}), ToolCall("clock", {"zone": "UTC"}))
        host.script(calls, Text("Sunny, noon."))
        log = await host.ask("Weather and time?", tools=[CLOCK])
        assert outline(log) == [
            "1 function_call clock call-1 completed",
            '0 mcp_call agent weather "sunny in Paris" completed',
            "completed usage=10/5",
        ]
        await host.then([answer(log.items[1], "12:00")], tools=[CLOCK])
        assert host.asked == [
            "user: Weather and time?",
            *('call weather {"city": "Paris"}', 'call clock {"zone": "UTC"}'),
            *("result sunny in Paris", "result 12:00"),
        ]


@every_client
async def test_an_unanswered_call_of_the_callers_tool_does_not_block_the_conversation(connect: Any) -> None:
    async with hosting(connect) as host:
        host.script(turn(ToolCall("clock", {"zone": "UTC"})), Text("Never mind."))
        await host.ask("What time?", tools=[CLOCK])
        await host.then("Forget it.", tools=[CLOCK])
        assert host.asked == [
            "user: What time?",
            'call clock {"zone": "UTC"}',
            "result [This call was never answered.]",
            "user: Forget it.",
        ]
