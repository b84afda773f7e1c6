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
from tests.patience import PATIENCE
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
async def test_a_tool_loop_sends_calls_and_results_back_as_the_provider_wants_them(connect: Connect) -> None:
    async with Upstream() as upstream:
        upstream.script(
            turn(Text("Let me look."), ToolCall("weather", {"city": "Paris"}), ToolCall("weather", {"city": "Rome"})),
            Text("Sunny in both."),
        )
        options = {"store": False} if connect is responses_client else {}
        await updates(agent(connect, upstream, **options), "Weather?")
        assert sorted(upstream.transcripts[1]) == [
            "assistant: Let me look.",
            'call weather {"city": "Paris"}',
            'call weather {"city": "Rome"}',
            "result sunny in Paris",
            "result sunny in Rome",
            "user: Weather?",
        ]


@every_client
async def test_conversations_side_by_side_keep_to_their_own_script(connect: Connect) -> None:
    async with Upstream() as upstream:
        for city in ("Paris", "Rome", "Oslo"):
            upstream.when(city, ToolCall("weather", {"city": city}), Text(f"Sunny in {city}."))
        one = agent(connect, upstream)
        runs = [one.run(f"Weather in {city}?", session=one.create_session()) for city in ("Oslo", "Paris", "Rome")]
        answers = [response.text for response in await asyncio.gather(*runs)]
    assert answers == ["Sunny in Oslo.", "Sunny in Paris.", "Sunny in Rome."]


@every_client
async def test_broken_arguments_of_the_model_become_a_result_it_can_read(connect: Connect) -> None:
    async with Upstream() as upstream:
        upstream.script(ToolCall("weather", '{"city": '), Text("Sorry."))
        await updates(agent(connect, upstream))
        assert upstream.transcripts[1][-1] == "result Error: Argument parsing failed."


async def test_a_stored_response_is_continued_with_the_results_alone() -> None:
    async with Upstream() as upstream:
        upstream.script(turn(ToolCall("weather", {"city": "Paris"})), Text("Sunny."))
        await updates(agent(responses_client, upstream), "Weather?")
        assert upstream.requests[1]["previous_response_id"] == "resp_1"
        assert upstream.transcripts[1] == ["result sunny in Paris"]


async def test_encrypted_reasoning_goes_back_in_front_of_its_call() -> None:
    async with Upstream() as upstream:
        thought = Reasoning(("I need", "the weather."), encrypted="ciphertext")
        upstream.script(turn(thought, ToolCall("weather", {"city": "Paris"})), Text("Sunny."))
        await updates(agent(responses_client, upstream, store=False), "Weather?")
        sent = upstream.requests[1]["input"]
        assert [item.get("encrypted_content") for item in sent if item["type"] == "reasoning"] == ["ciphertext"]


async def test_signed_thinking_goes_back_in_front_of_its_call() -> None:
    async with Upstream() as upstream:
        thought = Reasoning(("I need the weather.",), encrypted="sealed")
        upstream.script(turn(thought, ToolCall("weather", {"city": "Paris"})), Text("Sunny."))
        await updates(agent(anthropic_client, upstream), "Weather?")
        assert upstream.requests[1]["messages"][1]["content"][0] == {
            "type": "thinking",
            "thinking": "I need the weather.",
            "signature": "sealed",
        }


@every_client
async def test_several_texts_of_one_turn_all_arrive(connect: Connect) -> None:
    async with Upstream() as upstream:
        upstream.script(turn(Message((Text("One "), Text("two "))), Text("three")))
        stream = await updates(agent(connect, upstream))
    assert "".join(appended(stream)) == "One two three"


async def test_every_tool_of_the_provider_reaches_the_client_as_content() -> None:
    async with Upstream() as upstream:
        upstream.script(
            turn(
                WebSearch("news", ("https://example.com",)),
                CodeInterpreter("1+1", "2"),
                ImageGeneration(PIXEL, (PIXEL,)),
                McpListTools("docs", ("find",)),
                McpCall("docs", "find", {"q": "x"}, output="found"),
                McpApprovalRequest("docs", "delete", {"id": 1}),
            )
        )
        stream = await updates(agent(responses_client, upstream))
    assert {content.type for update in stream for content in update.contents} == {
        "search_tool_call",
        "search_tool_result",
        "code_interpreter_tool_call",
        "code_interpreter_tool_result",
        "image_generation_tool_call",
        "image_generation_tool_result",
        "mcp_server_tool_call",
        "mcp_server_tool_result",
        "function_approval_request",
        "usage",
    }


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
        await asyncio.wait_for(upstream.disconnected.wait(), PATIENCE)


def raw_type(update: AgentResponseUpdate) -> str:
    return str(getattr(getattr(update.raw_representation, "raw_representation", None), "type", ""))
