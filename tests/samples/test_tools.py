"""samples/tools over HTTP: every kind of tool, and one that the caller runs."""

from __future__ import annotations

import base64
import json

import pytest
from openai import OpenAI
from openai.types.responses import FunctionToolParam, Response

OPEN_PAGE = FunctionToolParam(
    type="function",
    name="open_page",
    description="Open a page of the app.",
    parameters={"type": "object", "properties": {"page": {"type": "string"}}, "required": ["page"]},
    strict=False,
)


@pytest.fixture
def client(tools: str) -> OpenAI:
    return OpenAI(base_url=tools, api_key="unused")


def result_of(response: Response) -> str | None:
    (call,) = [item for item in response.output if item.type == "mcp_call"]
    assert (call.server_label, call.status) == ("agent", "completed")
    return call.output


@pytest.mark.parametrize(
    ("question", "result"),
    [
        ("Please add_numbers 2 and 40.5", "42.5"),
        ("What is the stock price of FABRIKAM?", "45.60 EUR"),
    ],
)
def test_sync_and_async_tools_answer(client: OpenAI, question: str, result: str) -> None:
    assert result_of(client.responses.create(input=question)) == result


def test_an_image_that_a_tool_returns_arrives_as_an_image(client: OpenAI) -> None:
    parts: list[dict[str, str]] = json.loads(result_of(client.responses.create(input="Draw a blue swatch")) or "")

    assert [part["type"] for part in parts] == ["input_image"]
    prefix, _, data = parts[0]["image_url"].partition(",")
    assert prefix == "data:image/png;base64"
    assert base64.b64decode(data).startswith(b"\x89PNG")


def test_a_tool_sees_whose_turn_it_is(client: OpenAI) -> None:
    response = client.responses.create(
        input="Show my profile", metadata={"team": "web"}, extra_headers={"x-client-locale": "pt-PT"}
    )

    assert result_of(response) == "team web, locale pt-PT"


def test_a_tool_of_the_caller_is_run_by_the_caller(client: OpenAI) -> None:
    asked = client.responses.create(input='Open the page "Settings"', tools=[OPEN_PAGE])
    call = asked.output[-1]
    assert call.type == "function_call" and call.arguments == '{"page": "Settings"}'

    answered = client.responses.create(
        previous_response_id=asked.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "shown"}],
        tools=[OPEN_PAGE],
    )

    assert answered.output_text == "open_page says: shown"
