"""samples/workflow over HTTP: two agents at once, and a person who decides."""

from __future__ import annotations

from typing import Any

import pytest
from openai import BadRequestError, OpenAI


@pytest.fixture
def client(workflow: str) -> OpenAI:
    return OpenAI(base_url=workflow, api_key="unused")


def answer(call_id: str, text: str) -> Any:
    return [{"type": "function_call_output", "call_id": call_id, "output": text}]


def test_a_pick_that_does_not_exist_is_refused_and_a_right_one_is_still_taken(client: OpenAI) -> None:
    asked = client.responses.create(input="Warm socks")
    call = asked.output[-1]
    assert call.type == "function_call"

    with pytest.raises(BadRequestError) as refused:
        client.responses.create(previous_response_id=asked.id, input=answer(call.call_id, '{"number": 3}'))
    assert refused.value.param == "input[0].output.number"

    printed = client.responses.create(previous_response_id=asked.id, input=answer(call.call_id, '{"number": 1}'))
    assert printed.output_text == "Printed: Warm socks? Go big!"


def test_both_writers_stream_into_items_of_their_own(client: OpenAI) -> None:
    with client.responses.stream(model="any", input="Warm socks") as stream:
        deltas = [(event.output_index, event.delta) for event in stream if event.type == "response.output_text.delta"]

    assert {index for index, _ in deltas} == {0, 1}
    assert "".join(text for index, text in deltas if index == 0) in (
        "Warm socks? Go big!",
        "Warm socks? Take your time.",
    )
