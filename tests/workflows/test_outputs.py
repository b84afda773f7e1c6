"""What a workflow puts out: as which items, and which of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from agent_framework import (
    Agent,
    AgentResponse,
    Content,
    Executor,
    Message,
    UsageDetails,
    WorkflowBuilder,
    WorkflowContext,
    handler,
)

from hostedagent import HostOptions
from hostedagent.testing import OfflineChatClient
from tests.host.world import hosting
from tests.workflows.flows import City, Point, texts, turn


class Putting(Executor):
    """Puts out what it was made with."""

    def __init__(self, *values: Any) -> None:
        super().__init__(id="putting")
        self.values = values

    @handler
    async def start(self, messages: list[Message], ctx: WorkflowContext[Any, Any]) -> None:
        for value in self.values:
            await ctx.yield_output(value)


def putting(*values: Any) -> Any:
    return lambda: WorkflowBuilder(start_executor=Putting(*values), name="putting")


@dataclass
class Report:
    title: str
    places: list[Point]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain words", "plain words"),
        (Report("map", [Point(1, 2)]), '{"title": "map", "places": [{"x": 1, "y": 2}]}'),
        (City(name="Lyon", people=5), '{"name": "Lyon", "people": 5}'),
        ({"a": [1, None, "é"]}, '{"a": [1, null, "é"]}'),
        ([Point(1), Point(2)], '[{"x": 1, "y": 0}, {"x": 2, "y": 0}]'),
        (3, "3"),
        (True, "true"),
        (Message("assistant", ["said"]), "said"),
        (Content.from_text("part"), "part"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_an_output_is_a_message_of_its_executor_with_json_for_what_is_no_text(value: Any, text: str) -> None:
    async with hosting(putting(value)) as client:
        response = await turn(client, "a")

    assert texts(response) == [text]
    assert response["output"][0]["agent_reference"]["name"] == "putting"


async def test_each_output_is_an_item_of_its_own() -> None:
    async with hosting(
        putting("one", "two", [Message("assistant", ["three"]), Message("assistant", ["four"])])
    ) as client:
        response = await turn(client, "a")

    assert texts(response) == ["one", "two", "three", "four"]


async def test_nothing_is_put_out_for_nothing() -> None:
    async with hosting(putting(None, "")) as client:
        assert (await turn(client, "a"))["output"] == []


async def test_the_usage_of_a_whole_response_is_counted() -> None:
    usage = UsageDetails(input_token_count=2, output_token_count=3, total_token_count=5)
    async with hosting(
        putting(AgentResponse(messages=[Message("assistant", ["said"])], usage_details=usage))
    ) as client:
        response = await turn(client, "a")

    assert response["usage"]["total_tokens"] == 5


def _writer_and_editor() -> WorkflowBuilder:
    writer = Agent(OfflineChatClient(script=["a draft"]), name="writer")
    editor = Agent(OfflineChatClient(script=["the text"]), name="editor")
    builder = WorkflowBuilder(
        start_executor=writer, name="writing", output_from=[editor], intermediate_output_from=[writer]
    )
    return builder.add_edge(writer, editor)


@pytest.mark.parametrize(("shows", "said"), [(True, ["a draft", "the text"]), (False, ["the text"])])
async def test_intermediate_outputs_are_shown_or_hidden_and_their_tokens_always_count(
    shows: bool, said: list[str]
) -> None:
    async with hosting(_writer_and_editor, options=HostOptions(show_intermediate=shows)) as client:
        response = await turn(client, "a")

    assert texts(response) == said
    assert response["usage"]["output_tokens"] == 4
    assert [item["agent_reference"]["name"] for item in response["output"]] == ["writer", "editor"][-len(said) :]


async def test_json_can_be_read_back_as_it_was() -> None:
    report = Report("ünïcode \ud800", [Point(1)])
    async with hosting(putting(report)) as client:
        response = await turn(client, "a")

    assert json.loads(texts(response)[0])["title"] == "ünïcode \ufffd"
