"""The events of the fake upstream: their documented order, and each one valid for the provider's own SDK types."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from upstream import (
    CodeInterpreter,
    ContainerFileCitation,
    Failed,
    FileCitation,
    FileSearch,
    ImageGeneration,
    Incomplete,
    McpApprovalRequest,
    McpCall,
    McpListTools,
    Message,
    NotExpressibleError,
    Part,
    Reasoning,
    Refusal,
    StreamError,
    Text,
    ToolCall,
    Turn,
    UrlCitation,
    WebSearch,
    turn,
)
from upstream.providers import ANTHROPIC, CHAT_COMPLETIONS, RESPONSES, Provider

REQUEST: dict[str, Any] = {"model": "m", "stream_options": {"include_usage": True}}
CITED = UrlCitation("https://example.com", "Example", 0, 2)
RESPONSES_EVENT = TypeAdapter[Any](ResponseStreamEvent)
ANTHROPIC_EVENT = TypeAdapter[Any](BetaRawMessageStreamEvent)
PIXEL = "iVBORw0KGgo="


def events_of(provider: Provider, answer: Turn) -> list[dict[str, Any]]:
    return [event for event in provider.stream(answer, 1, REQUEST) if isinstance(event, dict)]


def types_of(events: list[dict[str, Any]]) -> list[str]:
    return [str(event["type"]).removeprefix("response.") for event in events]


EVENT_ORDERS: dict[str, tuple[Part, str]] = {
    "text with a citation": (
        Text("Hi", annotations=(CITED,)),
        "output_item.added content_part.added output_text.delta output_text.annotation.added output_text.done"
        " content_part.done output_item.done",
    ),
    "two parts in one message": (
        Message((Text("A"), Text("B"))),
        "output_item.added content_part.added output_text.delta output_text.done content_part.done content_part.added"
        " output_text.delta output_text.done content_part.done output_item.done",
    ),
    "refusal": (
        Refusal("No"),
        "output_item.added content_part.added refusal.delta refusal.done content_part.done output_item.done",
    ),
    "tool call": (
        ToolCall("weather", "{}"),
        "output_item.added function_call_arguments.delta function_call_arguments.done output_item.done",
    ),
    "reasoning": (
        Reasoning(("Think.",)),
        "output_item.added reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.done"
        " reasoning_summary_part.done output_item.done",
    ),
    "web search": (
        WebSearch("news"),
        "output_item.added web_search_call.in_progress web_search_call.searching web_search_call.completed"
        " output_item.done",
    ),
    "code interpreter": (
        CodeInterpreter("1+1", "2"),
        "output_item.added code_interpreter_call.in_progress code_interpreter_call_code.delta"
        " code_interpreter_call_code.done code_interpreter_call.interpreting code_interpreter_call.completed"
        " output_item.done",
    ),
    "image without previews": (
        ImageGeneration(PIXEL),
        "output_item.added image_generation_call.in_progress image_generation_call.generating"
        " image_generation_call.completed output_item.done",
    ),
    "image with a preview": (
        ImageGeneration(PIXEL, (PIXEL,)),
        "output_item.added image_generation_call.in_progress image_generation_call.generating"
        " image_generation_call.partial_image image_generation_call.completed output_item.done",
    ),
    "list of MCP tools": (
        McpListTools("docs", ("find",)),
        "output_item.added mcp_list_tools.in_progress mcp_list_tools.completed output_item.done",
    ),
    "MCP call": (
        McpCall("docs", "find", output="found"),
        "output_item.added mcp_call.in_progress mcp_call_arguments.delta mcp_call_arguments.done mcp_call.completed"
        " output_item.done",
    ),
    "MCP call that failed": (
        McpCall("docs", "find", error="no"),
        "output_item.added mcp_call.in_progress mcp_call_arguments.delta mcp_call_arguments.done mcp_call.failed"
        " output_item.done",
    ),
    "MCP approval request": (McpApprovalRequest("docs", "find"), "output_item.added output_item.done"),
}


@pytest.mark.parametrize(("part", "order"), EVENT_ORDERS.values(), ids=EVENT_ORDERS.keys())
def test_the_responses_events_keep_the_documented_order(part: Part, order: str) -> None:
    events = events_of(RESPONSES, turn(part))
    assert types_of(events) == ["created", "in_progress", *order.split(), "completed"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


def test_the_anthropic_events_keep_the_documented_order() -> None:
    events = events_of(ANTHROPIC, turn(Text("Hi"), ToolCall("weather", "{}")))
    assert (
        types_of(events)
        == (
            "message_start content_block_start ping content_block_delta content_block_stop"
            " content_block_start content_block_delta content_block_delta content_block_stop message_delta message_stop"
        ).split()
    )


def test_the_final_response_holds_what_the_done_events_held() -> None:
    events = events_of(RESPONSES, turn(Text("Hi"), ToolCall("weather", {"city": "Paris"})))
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert events[-1]["response"]["output"] == done


EVERY_PART: tuple[Part, ...] = (
    Reasoning(("One.", "Two."), raw=("Raw.",), encrypted="ciphertext"),
    Message((Text("Hi there", annotations=(CITED, FileCitation("f_1", "a.txt", 1))), Refusal("No"))),
    Text("Plot", annotations=(ContainerFileCitation("c_1", "f_2", "plot.png", 0, 4),)),
    ToolCall("weather", {"city": "Paris"}),
    WebSearch("news", ("https://example.com",)),
    FileSearch(("contract",)),
    CodeInterpreter("print(1)", "1"),
    ImageGeneration(PIXEL, (PIXEL,)),
    McpListTools("docs", ("find",)),
    McpCall("docs", "find", {"q": "x"}, output="found"),
    McpCall("docs", "find", error="no"),
    McpApprovalRequest("docs", "find"),
)
TEXT_AND_TOOL: tuple[Part, ...] = (Text("Hi there", annotations=(CITED,)), Refusal("No"), ToolCall("weather"))
FOR_ANTHROPIC: tuple[Part, ...] = (Reasoning(("One.",)), WebSearch("news", ("https://example.com",)), *TEXT_AND_TOOL)
ENDS = [None, Incomplete(), Incomplete("content_filter"), Failed(), StreamError()]


@pytest.mark.parametrize("end", ENDS, ids=str)
def test_every_responses_event_is_valid_for_the_sdk(end: Any) -> None:
    for event in events_of(RESPONSES, turn(*EVERY_PART, end=end)):
        RESPONSES_EVENT.validate_python(event)
    Response.model_validate(RESPONSES.whole(turn(*EVERY_PART, end=end), 1, REQUEST))


@pytest.mark.parametrize("end", ENDS[:3], ids=str)
def test_every_chunk_of_chat_completions_is_valid_for_the_sdk(end: Any) -> None:
    for event in events_of(CHAT_COMPLETIONS, turn(*TEXT_AND_TOOL, end=end)):
        ChatCompletionChunk.model_validate(event)
    ChatCompletion.model_validate(CHAT_COMPLETIONS.whole(turn(*TEXT_AND_TOOL, end=end), 1, REQUEST))


@pytest.mark.parametrize("end", ENDS[:3], ids=str)
def test_every_anthropic_event_is_valid_for_the_sdk(end: Any) -> None:
    # The SDK drops pings before it looks at types.
    for event in events_of(ANTHROPIC, turn(*FOR_ANTHROPIC, end=end)):
        if event["type"] != "ping":
            ANTHROPIC_EVENT.validate_python(event)
    BetaMessage.model_validate(ANTHROPIC.whole(turn(*FOR_ANTHROPIC, end=end), 1, REQUEST))


@pytest.mark.parametrize(
    ("provider", "part"), [(CHAT_COMPLETIONS, WebSearch("x")), (ANTHROPIC, ImageGeneration(PIXEL))]
)
def test_a_part_that_a_provider_does_not_have_is_refused(provider: Provider, part: Part) -> None:
    with pytest.raises(NotExpressibleError):
        provider.stream(turn(part), 1, REQUEST)


@pytest.mark.parametrize("text", ["", " ", "one", "one two\n", "  one\n\n two  "])
def test_deltas_join_to_the_text_they_were_cut_from(text: str) -> None:
    assert "".join(Text(text).deltas) == text
    assert "".join(ToolCall("x", json.dumps(text)).deltas) == json.dumps(text)


def test_chunks_that_do_not_join_to_the_text_are_refused() -> None:
    with pytest.raises(ValueError, match="do not join"):
        Text("Hello", chunks=("Hell",))
