"""The fake upstream proved with the real Agent Framework clients, each against its own provider's wire format."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, cast

import pytest
from agent_framework import Agent, AgentResponseUpdate, Content, tool
from agent_framework.exceptions import (
    ChatClientContentFilterException,
    ChatClientException,
    ResponseInvalidatedException,
)
from upstream import (
    CONTENT_FILTERED,
    INVALID_PROMPT,
    RATE_LIMITED,
    SERVER_ERROR,
    UNAUTHORIZED,
    CodeInterpreter,
    Dropped,
    Failed,
    Gate,
    HttpError,
    ImageGeneration,
    Incomplete,
    McpApprovalRequest,
    McpCall,
    McpListTools,
    Message,
    Reasoning,
    Refusal,
    StreamError,
    Text,
    ToolCall,
    Upstream,
    UrlCitation,
    Usage,
    WebSearch,
    anthropic_client,
    chat_completion_client,
    responses_client,
    turn,
)

Connect = Callable[[Upstream], Any]
CLIENTS: dict[str, Connect] = {
    "responses": responses_client,
    "chat": chat_completion_client,
    "anthropic": anthropic_client,
}
every_client = pytest.mark.parametrize("connect", CLIENTS.values(), ids=CLIENTS.keys())
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@tool
def weather(city: Annotated[str, "Name of the city"]) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


def agent(connect: Connect, upstream: Upstream, **options: Any) -> Agent[Any]:
    return Agent(client=connect(upstream), tools=[weather], default_options=cast(Any, options))


async def updates(run: Agent[Any], prompt: str = "Hello") -> list[AgentResponseUpdate]:
    return [update async for update in run.run(prompt, stream=True)]


def contents(stream: list[AgentResponseUpdate], *types: str) -> list[Content]:
    return [content for update in stream for content in update.contents if content.type in types]


def appended(stream: list[AgentResponseUpdate], type_: str = "text") -> list[str]:
    return [c.text for c in contents(stream, type_) if c.text and c.merge_mode != "replace"]


@every_client
async def test_text_streams_in_the_scripted_deltas(connect: Connect) -> None:
    async with Upstream() as upstream:
        upstream.script(Text("It is sunny", chunks=("It ", "is s", "unny")))
        stream = await updates(agent(connect, upstream))
    assert appended(stream) == ["It ", "is s", "unny"]
    assert [update.finish_reason for update in stream if update.finish_reason] == ["stop"]


@every_client
async def test_the_same_script_answers_a_call_that_does_not_stream(connect: Connect) -> None:
    async with Upstream() as upstream:
        upstream.script(turn(ToolCall("weather", {"city": "Paris"})), Text("Sunny."))
        response = await agent(connect, upstream).run("Weather?")
        assert response.text.endswith("Sunny.")
        assert [bool(request.get("stream")) for request in upstream.requests] == [False, False]


@every_client
@pytest.mark.parametrize("store", [True, False])
async def test_a_tool_loop_calls_the_tools_and_sends_a_transcript_the_provider_accepts(
    connect: Connect, store: bool
) -> None:
    async with Upstream() as upstream:
        upstream.script(
            turn(Text("Let me look."), ToolCall("weather", {"city": "Paris"}), ToolCall("weather", {"city": "Rome"})),
            Text("Sunny in both."),
        )
        options = {"store": store} if connect is responses_client else {}
        stream = await updates(agent(connect, upstream, **options))
        assert "sunny in Paris" in str(upstream.requests[1])
    assert [content.result for content in contents(stream, "function_result")] == ["sunny in Paris", "sunny in Rome"]


@every_client
async def test_usage_arrives_as_scripted(connect: Connect) -> None:
    async with Upstream() as upstream:
        upstream.script(turn(Text("Hi"), usage=Usage(input=11, output=7)))
        response = await agent(connect, upstream).run("Hello", stream=True).get_final_response()
    assert response.usage_details is not None
    assert (response.usage_details.get("input_token_count"), response.usage_details.get("output_token_count")) == (
        11,
        7,
    )


@every_client
async def test_a_refusal_reaches_the_client_as_text(connect: Connect) -> None:
    async with Upstream() as upstream:
        upstream.script(Refusal("I cannot help with that."))
        stream = await updates(agent(connect, upstream))
    assert "".join(appended(stream)) == "I cannot help with that."


@every_client
@pytest.mark.parametrize(("reason", "finish"), [("max_output_tokens", "length"), ("content_filter", "content_filter")])
async def test_a_turn_that_was_stopped_says_why(connect: Connect, reason: Any, finish: str) -> None:
    async with Upstream() as upstream:
        upstream.script(turn(Text("Once upon"), end=Incomplete(reason)))
        stream = await updates(agent(connect, upstream))
    assert [update.finish_reason for update in stream if update.finish_reason] == [finish]


@every_client
@pytest.mark.parametrize(
    "error", [RATE_LIMITED, UNAUTHORIZED, INVALID_PROMPT, SERVER_ERROR], ids=lambda e: str(e.status)
)
async def test_an_http_error_is_raised_once_and_not_retried(connect: Connect, error: HttpError) -> None:
    async with Upstream() as upstream:
        upstream.script(error)
        with pytest.raises(Exception, match=error.message[:12]) as caught:
            await updates(agent(connect, upstream))
        assert len(upstream.requests) == 1
    cause = caught.value.__cause__
    assert getattr(cause, "status_code", None) == error.status


@pytest.mark.parametrize("connect", [responses_client, chat_completion_client])
async def test_a_content_filter_error_is_told_from_other_bad_requests(connect: Connect) -> None:
    async with Upstream() as upstream:
        upstream.script(CONTENT_FILTERED)
        with pytest.raises(ChatClientContentFilterException):
            await updates(agent(connect, upstream))


@every_client
@pytest.mark.parametrize("end", [StreamError(), Dropped()], ids=["error", "dropped"])
async def test_a_stream_that_breaks_raises_after_its_first_deltas(connect: Connect, end: Any) -> None:
    async with Upstream() as upstream:
        upstream.script(turn(Text("Once upon a time"), end=end))
        run = agent(connect, upstream).run("Hello", stream=True)
        with pytest.raises(ChatClientException):
            async for _ in run:
                pass
    assert "".join(appended([*run.updates])) == "Once upon a time"


async def test_a_tool_call_cut_short_is_never_run_for_anthropic() -> None:
    async with Upstream() as upstream:
        upstream.script(turn(ToolCall("weather", {"city": "Paris"}), end=Dropped()))
        with pytest.raises(ResponseInvalidatedException):
            await updates(agent(anthropic_client, upstream))


async def test_a_failed_response_leaves_its_last_item_open() -> None:
    async with Upstream() as upstream:
        upstream.script(turn(Text("Once upon"), end=Failed(message="It broke.")))
        stream = await updates(agent(responses_client, upstream))
    assert [raw_type(update) for update in stream][-3:] == [
        "response.output_text.delta",
        "response.output_text.delta",
        "response.failed",
    ]


@every_client
async def test_a_gate_holds_the_stream_until_it_opens(connect: Connect) -> None:
    gate = Gate()
    async with Upstream() as upstream:
        upstream.script(Text("One two three", gate=gate))
        running = asyncio.create_task(updates(agent(connect, upstream)))
        await gate.reached()
        assert not running.done()
        gate.open()
        assert "".join(appended(await running)) == "One two three"


@every_client
async def test_the_provider_notices_that_its_client_went_away(connect: Connect) -> None:
    gate = Gate()
    async with Upstream() as upstream:
        upstream.script(Text("One two three", gate=gate))
        running = asyncio.create_task(updates(agent(connect, upstream)))
        await gate.reached()
        running.cancel()
        await asyncio.wait_for(upstream.disconnected.wait(), 5)


def raw_type(update: AgentResponseUpdate) -> str:
    return str(getattr(getattr(update.raw_representation, "raw_representation", None), "type", ""))


async def event_types(*parts: Any) -> list[str]:
    async with Upstream() as upstream:
        upstream.script(turn(*parts))
        client = responses_client(upstream)
        sdk_stream = await client.client.responses.create(model="m", input="Hello", stream=True)
        events = [event async for event in sdk_stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1].type == "response.completed"
    return [event.type.removeprefix("response.") for event in events[2:-1]]


EVENT_ORDERS: dict[str, tuple[list[Any], str]] = {
    "text with a citation": (
        [Text("Hi", annotations=(UrlCitation("https://example.com", "Example", 0, 2),))],
        "output_item.added content_part.added output_text.delta output_text.annotation.added output_text.done"
        " content_part.done output_item.done",
    ),
    "two parts in one message": (
        [Message((Text("A"), Text("B")))],
        "output_item.added content_part.added output_text.delta output_text.done content_part.done content_part.added"
        " output_text.delta output_text.done content_part.done output_item.done",
    ),
    "refusal": (
        [Refusal("No")],
        "output_item.added content_part.added refusal.delta refusal.done content_part.done output_item.done",
    ),
    "tool call": (
        [ToolCall("weather", "{}")],
        "output_item.added function_call_arguments.delta function_call_arguments.done output_item.done",
    ),
    "reasoning": (
        [Reasoning(("Think.",))],
        "output_item.added reasoning_summary_part.added reasoning_summary_text.delta reasoning_summary_text.done"
        " reasoning_summary_part.done output_item.done",
    ),
    "web search": (
        [WebSearch("news")],
        "output_item.added web_search_call.in_progress web_search_call.searching web_search_call.completed"
        " output_item.done",
    ),
    "code interpreter": (
        [CodeInterpreter("1+1", "2")],
        "output_item.added code_interpreter_call.in_progress code_interpreter_call_code.delta"
        " code_interpreter_call_code.done code_interpreter_call.interpreting code_interpreter_call.completed"
        " output_item.done",
    ),
    "image without previews": (
        [ImageGeneration(PIXEL)],
        "output_item.added image_generation_call.in_progress image_generation_call.generating"
        " image_generation_call.completed output_item.done",
    ),
    "image with a preview": (
        [ImageGeneration(PIXEL, (PIXEL,))],
        "output_item.added image_generation_call.in_progress image_generation_call.generating"
        " image_generation_call.partial_image image_generation_call.completed output_item.done",
    ),
    "list of MCP tools": (
        [McpListTools("docs", ("find",))],
        "output_item.added mcp_list_tools.in_progress mcp_list_tools.completed output_item.done",
    ),
    "MCP call": (
        [McpCall("docs", "find", output="found")],
        "output_item.added mcp_call.in_progress mcp_call_arguments.delta mcp_call_arguments.done mcp_call.completed"
        " output_item.done",
    ),
    "MCP call that failed": (
        [McpCall("docs", "find", error="no")],
        "output_item.added mcp_call.in_progress mcp_call_arguments.delta mcp_call_arguments.done mcp_call.failed"
        " output_item.done",
    ),
    "MCP approval request": ([McpApprovalRequest("docs", "find")], "output_item.added output_item.done"),
}


@pytest.mark.parametrize(("parts", "order"), EVENT_ORDERS.values(), ids=EVENT_ORDERS.keys())
async def test_the_responses_events_keep_the_documented_order(parts: list[Any], order: str) -> None:
    assert await event_types(*parts) == order.split()
