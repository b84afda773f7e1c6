"""`POST /chat/completions`, as the `openai` library and chat front ends use it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import openai
import pytest
from agent_framework import Agent, AgentResponseUpdate, Content, UsageDetails, tool

from hostedagent import AgentHost, Hooks, HostOptions, TurnRequest
from hostedagent.doors import ChatCompletions
from hostedagent.doors.chat_completions.chunks import usage_of
from hostedagent.testing import Gate, InProcessClient, OfflineChatClient, ScriptedAgent, serve
from tests.host.approving import call

HI: Any = [{"role": "user", "content": "hi"}]
WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}

REFUSAL = Content.from_text("I cannot.", additional_properties={"model_output_kind": "refusal"})


@asynccontextmanager
async def hosting(agent: Any, **given: Any) -> AsyncGenerator[tuple[InProcessClient, openai.AsyncOpenAI]]:
    async with serve(AgentHost(agent, driver="starlette", **given).app) as client:
        async with client.openai(base_url="http://testserver/v1") as api:
            yield client, api


def counted() -> Content:
    return Content.from_usage(UsageDetails(input_token_count=7, output_token_count=3, total_token_count=10))


async def test_a_whole_answer_has_a_message_and_its_usage() -> None:
    async with hosting(ScriptedAgent(["Hel", "lo.", counted()])) as (client, api):
        made = await api.chat.completions.create(model="m", messages=HI)
        stored = (await client.get("/conversations")).json()["data"]

    (choice,) = made.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "Hello.", "stop")
    assert made.object == "chat.completion" and made.usage and made.usage.total_tokens == 10
    assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (7, 3) and stored == []


@pytest.mark.parametrize("counts", [False, True])
async def test_a_stream_has_chunks_of_the_answer_and_one_reason(counts: bool) -> None:
    given: Any = {"stream_options": {"include_usage": True}} if counts else {}
    async with hosting(ScriptedAgent(["Hel", "lo.", counted()])) as (_, api):
        stream = await api.chat.completions.create(model="m", messages=HI, stream=True, **given)
        chunks = [chunk async for chunk in stream]

    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert len({chunk.id for chunk in chunks}) == 1 and choices[0].delta.role == "assistant"
    assert "".join(choice.delta.content or "" for choice in choices) == "Hello."
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == ([10] if counts else [])


async def test_the_library_accumulates_a_stream_of_tool_calls() -> None:
    agent = Agent(OfflineChatClient(script=[[call("c1", "weather", city="Rome"), call("c2", "weather", city="Oslo")]]))
    async with hosting(agent) as (_, api):
        async with api.chat.completions.stream(model="m", messages=HI, tools=[WEATHER]) as stream:
            made = await stream.get_final_completion()

    calls = made.choices[0].message.tool_calls or []
    assert made.choices[0].finish_reason == "tool_calls"
    assert [(row.id, row.function.name, row.function.arguments) for row in calls] == [
        ("c1", "weather", '{"city": "Rome"}'),
        ("c2", "weather", '{"city": "Oslo"}'),
    ]


async def test_a_client_runs_its_tool_and_sends_the_conversation_back() -> None:
    model = OfflineChatClient(script=[[call("c1", "weather", city="Rome")], ["Sunny in Rome."]])
    async with hosting(Agent(model)) as (_, api):
        messages: list[Any] = [{"role": "system", "content": "Be brief."}, *HI]
        first = await api.chat.completions.create(model="m", messages=messages, tools=[WEATHER])
        asked = first.choices[0].message
        assert first.choices[0].finish_reason == "tool_calls" and asked.tool_calls
        messages += [asked.model_dump(), {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "sunny"}]
        second = await api.chat.completions.create(model="m", messages=messages, tools=[WEATHER])

    assert second.choices[0].message.content == "Sunny in Rome." and second.choices[0].finish_reason == "stop"
    assert [message.role for message in model.calls[1].messages][-2:] == ["assistant", "tool"]


@pytest.mark.parametrize("shown", ["function_call", "mcp_call", "hidden"])
async def test_the_agents_own_tools_are_not_shown(shown: Any) -> None:
    @tool
    def look(city: str) -> str:
        """Look at a city."""
        return f"sunny in {city}"

    model = OfflineChatClient(script=[["Let me look.", call("c1", "look", city="Rome")], ["It is sunny."]])
    agent = Agent(model, tools=[look])
    async with hosting(agent, options=HostOptions(own_tools=shown)) as (_, api):
        made = await api.chat.completions.create(model="m", messages=HI, tools=[WEATHER])

    (choice,) = made.choices
    assert choice.message.tool_calls is None and choice.finish_reason == "stop"
    assert choice.message.content == "Let me look.\n\nIt is sunny."


async def test_the_request_of_a_chat_front_end_is_served() -> None:
    """What Open WebUI sends: parts with images, reasoning of earlier answers, fields of its own."""
    agent = ScriptedAgent(["A cat."])
    pixel = "data:image/png;base64,iVBORw0KGgo="
    messages = [
        {"role": "system", "content": "You are kind."},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "Hello!", "reasoning_content": "hm"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": pixel}},
            ],
        },
    ]
    fields = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 100, "temperature": 0.5}
    async with hosting(agent) as (client, _):
        body = {"model": "agent", "messages": messages, **fields, "stop": ["\n"], "seed": 1, "chat_id": "x"}
        reply = await client.post("/v1/chat/completions", json=body)

    assert reply.headers["content-type"].startswith("text/event-stream") and reply.text.endswith("data: [DONE]\n\n")
    read = agent.calls[0].messages
    assert [message.text for message in read][-3:] == ["hello", "Hello!", "What is this?"]
    assert read[-1].contents[-1].type == "data" and read[-1].contents[-1].uri == pixel


async def test_titles_and_tags_that_a_front_end_asks_for_are_in_no_conversation() -> None:
    """What Open WebUI asks beside a chat: one message with the whole chat in it, and no conversation."""
    agent = ScriptedAgent(["Hello."], ['{"title": "Greeting"}'], ["Again."])
    task = "### Task:\nGenerate a concise title.\n### Chat History:\n<chat_history>\nUSER: hi\nASSISTANT: Hello.\n"
    async with hosting(agent) as (client, api):
        chat: Any = {"model": "m", "extra_body": {"conversation": "conv_1"}}
        await api.chat.completions.create(messages=HI, **chat)
        body = {"model": "m", "messages": [{"role": "user", "content": task}], "stream": False}
        made = (await client.post("/v1/chat/completions", json={**body, "max_completion_tokens": 1000})).json()
        await api.chat.completions.create(messages=HI, **chat)
        kept = (await client.get("/conversations/conv_1/items")).json()["data"]

    assert made["choices"][0]["message"]["content"] == '{"title": "Greeting"}'
    assert len(agent.calls[1].messages) == 1
    assert "title" not in str(kept) and len(kept) == 4


async def test_options_reach_the_model() -> None:
    model = OfflineChatClient(script=[["{}"]])
    schema: Any = {"name": "answer", "schema": {"type": "object", "properties": {}}}
    wanted: Any = {"type": "json_schema", "json_schema": schema}
    async with hosting(Agent(model)) as (_, api):
        await api.chat.completions.create(
            model="m", messages=HI, temperature=0.5, max_completion_tokens=9, response_format=wanted
        )

    options = model.calls[0].options
    assert (options["temperature"], options["max_tokens"]) == (0.5, 9)
    assert options["response_format"]["json_schema"]["name"] == "answer"


async def test_a_choice_of_allowed_tools_reaches_the_model() -> None:
    model = OfflineChatClient(script=[["Sunny."]])
    other: Any = {"type": "function", "function": {"name": "other", "parameters": {"type": "object", "properties": {}}}}
    only: Any = {"type": "function", "function": {"name": "weather"}}
    choice: Any = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [only]}}
    async with hosting(Agent(model)) as (_, api):
        await api.chat.completions.create(model="m", messages=HI, tools=[WEATHER, other], tool_choice=choice)

    assert model.calls[0].options["tool_choice"] == {"mode": "required", "allowed_tools": ["weather"]}


async def test_a_refusal_of_an_earlier_answer_is_read() -> None:
    refused = AgentResponseUpdate(contents=[REFUSAL], role="assistant")
    agent = ScriptedAgent([refused], ["Because."])
    async with hosting(agent) as (_, api):
        made = await api.chat.completions.create(model="m", messages=HI)
        said: Any = made.choices[0].message.model_dump()
        await api.chat.completions.create(model="m", messages=[*HI, said, *HI])

    assert made.choices[0].message.refusal == "I cannot."
    assert [(message.role, message.text) for message in agent.calls[1].messages] == [
        ("user", "hi"),
        ("assistant", "I cannot."),
        ("user", "hi"),
    ]


async def test_custom_tool_calls_of_earlier_answers_are_read() -> None:
    agent = ScriptedAgent(["Fine."])
    called: Any = {"id": "c1", "type": "custom", "custom": {"name": "query", "input": "select 1"}}
    messages: list[Any] = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
        *HI,
    ]
    async with hosting(agent) as (_, api):
        await api.chat.completions.create(model="m", messages=messages)

    contents = [content for message in agent.calls[0].messages for content in message.contents]
    assert [content.type for content in contents] == ["text", "function_call", "function_result", "text"]
    assert (contents[1].name, contents[1].arguments, contents[2].result) == ("query", '{"input": "select 1"}', "1")


async def test_audio_of_a_message_reaches_the_agent() -> None:
    agent = ScriptedAgent(["I hear."])
    part: Any = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    async with hosting(agent) as (_, api):
        await api.chat.completions.create(model="m", messages=[{"role": "user", "content": [part]}])

    assert agent.calls[0].messages[-1].contents[-1].uri == "data:audio/wav;base64,UklGRg=="


async def test_thoughts_are_paragraphs_in_a_stream_as_in_a_whole_answer() -> None:
    @tool
    def look() -> str:
        """Look outside."""
        return "sunny"

    steps = [[Content.from_text_reasoning(text="First."), call("c1", "look")]]
    steps.append([Content.from_text_reasoning(text="Then."), Content.from_text("Sunny.")])
    agent = Agent(OfflineChatClient(script=[*steps, *steps]), tools=[look])
    async with hosting(agent) as (_, api):
        made: Any = await api.chat.completions.create(model="m", messages=HI)
        stream = await api.chat.completions.create(model="m", messages=HI, stream=True)
        deltas: list[Any] = [chunk.choices[0].delta async for chunk in stream]

    streamed = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert streamed == made.choices[0].message.reasoning_content == "First.\n\nThen."


async def test_an_answer_that_was_cut_says_so() -> None:
    cut = AgentResponseUpdate(contents=[Content.from_text("Hel")], role="assistant", finish_reason="length")
    async with hosting(ScriptedAgent([cut])) as (_, api):
        made = await api.chat.completions.create(model="m", messages=HI)

    assert (made.choices[0].message.content, made.choices[0].finish_reason) == ("Hel", "length")


@pytest.mark.parametrize("streams", [False, True])
async def test_a_failed_turn_is_an_error(streams: bool) -> None:
    async with hosting(ScriptedAgent(["Hel", RuntimeError("secret")])) as (_, api):
        with pytest.raises(openai.APIError) as caught:
            made = await api.chat.completions.create(model="m", messages=HI, stream=streams)
            async for _chunk in cast("Any", made):
                pass

    assert "The agent failed to produce a response." in str(caught.value) and "secret" not in str(caught.value)


async def test_a_client_that_leaves_stops_the_turn() -> None:
    gate = Gate()
    ends: list[str] = []

    def note(request: Any, outcome: Any, *_: Any) -> None:
        ends.append(type(outcome).__name__)

    agent = ScriptedAgent(["Hel", gate, "lo."])
    async with hosting(agent, hooks=Hooks(on_outcome=note)) as (client, api):
        stream = await api.chat.completions.create(model="m", messages=HI, stream=True)
        await gate.reached()
        await stream.close()
        await client.idle()

    assert ends == ["Cancelled"]


BAD: list[tuple[Any, str | None]] = [
    ({}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": [{"type": "x"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "tool", "tool_call_id": "c9", "content": "x"}]}, None),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "type": "custom"}]}]},
        "messages[0].tool_calls[0].custom",
    ),
    ({"messages": HI, "n": 2}, "n"),
    ({"messages": HI, "functions": [{}]}, "functions"),
    ({"messages": HI, "temperature": 9}, "temperature"),
    ({"messages": HI, "tools": [{"type": "function", "function": 1}]}, "tools[0].function"),
]


@pytest.mark.parametrize(("body", "param"), BAD)
async def test_a_bad_request_names_its_field(body: Any, param: str | None) -> None:
    async with hosting(ScriptedAgent(["x"])) as (client, _):
        reply = await client.post("/chat/completions", json=body)

    assert reply.status == 400
    assert param is None or reply.json()["error"]["param"] == param


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
async def test_an_application_serves_the_door_with_its_hooks_on_both_drivers(driver: Any) -> None:
    seen: list[TurnRequest] = []

    def shout(event: dict[str, Any]) -> Any:
        return [{**event, "delta": event["delta"].upper()}] if event["type"].endswith("text.delta") else [event]

    door = ChatCompletions(before_run=seen.append, transform_event=shout)
    async with serve(AgentHost(ScriptedAgent(["Hello."]), doors=[door], driver=driver).app) as client:
        async with client.openai(base_url="http://testserver/v1") as api:
            stream = await api.chat.completions.create(model="m", messages=HI, stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert text == "HELLO." and [request.door for request in seen] == ["chat_completions"]


async def test_a_client_that_names_a_conversation_sends_what_is_new() -> None:
    model = OfflineChatClient(script=[["One."], ["Two."]])
    async with hosting(Agent(model)) as (client, api):
        await client.post("/responses", json={"input": "first", "conversation": "conv_x"})
        made = await api.chat.completions.create(model="m", messages=HI, extra_body={"conversation": "conv_x"})
        items = (await client.get("/conversations/conv_x/items")).json()["data"]

    assert made.choices[0].message.content == "Two." and len(items) == 4
    assert model.calls[1].transcript == ["user: first", "assistant: One.", "user: hi"]


def test_counts_that_a_service_does_not_break_down_are_sent_without_details() -> None:
    counts = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    named = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}

    assert usage_of({"usage": counts}) == named
    assert usage_of({"usage": {**counts, "input_tokens_details": {"cached_tokens": 2}}}) == {
        **named,
        "prompt_tokens_details": {"cached_tokens": 2},
    }
    assert usage_of({"usage": None}) is None
