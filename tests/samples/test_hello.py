"""samples/hello over HTTP, with the clients that the README uses."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid

import pytest
from openai import OpenAI

from tests.patience import PATIENCE


def test_three_turns_continue_by_previous_response_id(hello: str) -> None:
    client = OpenAI(base_url=hello, api_key="unused")

    first = client.responses.create(input="My name is Ada.")
    second = client.responses.create(input="What is the weather in Oslo?", previous_response_id=first.id)
    third = client.responses.create(input="What is my name?", previous_response_id=second.id)

    assert [turn.output_text for turn in (first, second, third)] == [
        "Nice to meet you, Ada.",
        "get_weather says: snow, -3 degrees",
        "Your name is Ada.",
    ]


def test_three_turns_of_a_conversation_with_a_tool_call(hello: str) -> None:
    client = OpenAI(base_url=hello, api_key="unused")
    conversation = f"conv_{uuid.uuid4().hex}"

    client.responses.create(input="My name is Grace.", conversation=conversation)
    second = client.responses.create(input="What is the weather in Paris?", conversation=conversation)
    third = client.responses.create(input="What is my name?", conversation=conversation)

    assert [item.type for item in second.output] == ["mcp_call", "message"]
    assert third.output_text == "Your name is Grace."


def test_a_stream_says_the_same_as_its_response(hello: str) -> None:
    client = OpenAI(base_url=hello, api_key="unused")

    with client.responses.stream(model="any", input="What is the weather in Lisbon?") as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()

    assert len(deltas) > 1
    assert "".join(deltas) == final.output_text == "get_weather says: sunny, 24 degrees"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_gets_a_response(hello: str) -> None:
    said = subprocess.run(
        ["curl", "-sS", f"{hello}/responses", "--json", '{"input": "What is the weather in Paris?"}'],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )

    response = json.loads(said.stdout)
    assert response["status"] == "completed"
    assert response["output"][-1]["content"][0]["text"] == "get_weather says: rain, 12 degrees"
