import asyncio
import enum
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from agent_framework import (
    Agent,
    AgentResponse,
    AgentResponseUpdate,
    ChatResponseUpdate,
    Content,
    FunctionTool,
    Message,
    tool,
)
from pydantic import BaseModel

from hostedagent.testing import Gate, OfflineChatClient
from hostedagent.testing.rules import arguments


@tool
def get_weather(city: str) -> str:
    """The weather."""
    return f"sunny in {city}"


def agent_of(client: OfflineChatClient, *tools: FunctionTool) -> Agent[Any]:
    return Agent(client, tools=list(tools))


async def updates_of(agent: Agent[Any], text: str, **options: Any) -> list[AgentResponseUpdate]:
    return [update async for update in agent.run(text, stream=True, **options)]


async def test_a_text_streams_word_by_word_and_ends_with_usage_and_a_reason() -> None:
    updates = await updates_of(agent_of(OfflineChatClient(script=["Hello to you"])), "hi")

    assert [update.text for update in updates] == ["Hello ", "to ", "you", ""]
    assert updates[-1].finish_reason == "stop"
    assert updates[-1].contents[0].usage_details == {
        "input_token_count": 1,
        "output_token_count": 3,
        "total_token_count": 4,
    }


async def test_it_calls_the_tool_the_user_talks_about_and_answers_with_its_result() -> None:
    client = OfflineChatClient()

    reply = await agent_of(client, get_weather).run("What is the weather in Paris?")

    assert reply.text == "get_weather says: sunny in Paris"
    assert client.calls[1].transcript == [
        "user: What is the weather in Paris?",
        'assistant: -> get_weather({"city": "Paris"})',
        "tool: <- sunny in Paris",
    ]


async def test_it_leaves_tools_alone_when_nobody_mentions_them_or_when_told_so() -> None:
    client = OfflineChatClient()
    agent = agent_of(client, get_weather)

    assert "You said" in (await agent.run("Tell me a story.")).text
    assert "You said" in (await agent.run("Weather in Paris?", options={"tool_choice": "none"})).text
    assert [call.tool_names for call in client.calls] == [["get_weather"], ["get_weather"]]


async def test_it_remembers_names_and_counts_messages_only_from_what_it_is_shown() -> None:
    agent = agent_of(OfflineChatClient())
    session = agent.create_session()

    assert (await agent.run("My name is Ada.", session=session)).text == "Nice to meet you, Ada."
    assert (await agent.run("What is my name?", session=session)).text == "Your name is Ada."
    assert (await agent.run("Go on", session=session)).text == 'This is message 3 from you. You said: "Go on".'
    assert (await agent.run("What is my name?")).text == "You have not told me your name."


async def test_it_says_what_came_with_the_text() -> None:
    picture = Content.from_data(b"x", "image/png")
    reply = await agent_of(OfflineChatClient()).run(Message("user", ["Look", picture]))
    assert reply.text.endswith("With it came: image/png.")


async def test_max_tokens_cuts_the_text_and_says_length() -> None:
    reply: AgentResponse[Any] = await agent_of(OfflineChatClient(script=["one two three"])).run(
        "hi", options={"max_tokens": 2}
    )
    assert (reply.text, reply.finish_reason) == ("one two ", "length")


async def test_a_text_of_just_max_tokens_is_not_cut() -> None:
    reply: AgentResponse[Any] = await agent_of(OfflineChatClient(script=["one two"])).run(
        "hi", options={"max_tokens": 2}
    )
    assert (reply.text, reply.finish_reason) == ("one two", "stop")


class Person(BaseModel):
    name: str
    age: int


async def test_a_response_format_gets_json_that_fits_it() -> None:
    agent = agent_of(OfflineChatClient())
    reply: AgentResponse[Any] = await agent.run("She is Ada and 36 years old", options={"response_format": Person})
    assert reply.value == Person(name="Ada", age=36)

    form = {"type": "json_schema", "name": "p", "schema": Person.model_json_schema()}
    reply: AgentResponse[Any] = await agent.run("She is Ada and 36 years old", options={"response_format": form})
    assert Person.model_validate_json(reply.text) == Person(name="Ada", age=36)


class Unit(enum.StrEnum):
    C = "celsius"
    F = "fahrenheit"


def test_arguments_fit_their_types() -> None:
    @tool
    def plan(origin: str, goal: str, days: int, price: float, unit: Unit, tags: list[str], rush: bool) -> None:
        """A trip."""

    @tool
    def optional(place: str, days: int = 1, note: str | None = None) -> None:
        """A trip."""

    text = "Go from Rome to Oslo for 3 days, 9.5 each, in fahrenheit, not soon"
    assert arguments(plan.parameters(), text) == {
        "origin": "Rome",
        "goal": "Oslo",
        "days": 3,
        "price": 9.5,
        "unit": "fahrenheit",
        "tags": ["soon"],
        "rush": False,
    }
    assert arguments(optional.parameters(), "somewhere warm") == {"place": "warm"}
    assert arguments(optional.parameters(), 'to "New York" please') == {"place": "New York"}


async def test_a_script_can_send_contents_updates_errors_and_functions() -> None:
    async def late(messages: Sequence[Message], options: Mapping[str, Any]) -> str:
        return f"{len(messages)} messages"

    def shout(messages: Sequence[Message], options: Mapping[str, Any]) -> str:
        return messages[-1].text.upper()

    client = OfflineChatClient(
        script=[
            Content.from_text_reasoning(text="hm"),
            [
                ChatResponseUpdate(
                    contents=[Content.from_text("as is")], role="assistant", finish_reason="content_filter"
                )
            ],
            shout,
            late,
            ["half ", ConnectionError("gone")],
        ]
    )
    agent = agent_of(client)

    assert (await agent.run("a")).messages[0].contents[0].type == "text_reasoning"
    assert (await agent.run("b")).finish_reason == "content_filter"
    assert (await agent.run("c")).text == "C"
    assert (await agent.run("d")).text == "1 messages"
    with pytest.raises(ConnectionError, match="gone"):
        await agent.run("e")
    client.assert_done()


async def test_an_exhausted_script_and_an_unused_one_are_errors() -> None:
    client = OfflineChatClient(script=["only one", "never"])
    agent = agent_of(client)

    await agent.run("hi")
    with pytest.raises(AssertionError, match="1 replies of the script were never asked for"):
        client.assert_done()
    await agent.run("hi")
    with pytest.raises(AssertionError, match="has 2 replies and the model was called 3 times"):
        await agent.run("hi again")


async def test_calls_are_copies_of_what_the_model_saw() -> None:
    client = OfflineChatClient(script=["ok"])
    message = Message("user", ["before"])
    await agent_of(client).run(message, options={"temperature": 0.5})

    message.contents[0].text = "after"
    assert client.calls[0].transcript == ["user: before"]
    assert client.calls[0].options["temperature"] == 0.5


async def test_a_gate_stops_the_stream_at_a_known_place() -> None:
    gate = Gate()
    agent = agent_of(OfflineChatClient(script=[["one ", gate, "two"]]))
    seen: list[str] = []

    async def read() -> None:
        async for update in agent.run("hi", stream=True):
            seen.append(update.text)  # noqa: PERF401 - the test looks at it before the end

    task = asyncio.create_task(read())
    await gate.reached()
    assert seen == ["one "]
    gate.open()
    await task
    assert "".join(seen) == "one two"


async def test_before_chunk_is_awaited_before_every_update() -> None:
    waited: list[tuple[int, str]] = []

    async def before(number: int, update: ChatResponseUpdate) -> None:
        waited.append((number, update.text))

    await agent_of(OfflineChatClient(script=["a b"], before_chunk=before)).run("hi")
    assert waited == [(0, "a "), (1, "b")]
