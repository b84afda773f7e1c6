"""samples/fastapi with the real client: routes of the application, its authentication, streaming, two agents."""

from __future__ import annotations

import openai
import pytest
from openai import OpenAI

from hostedagent.testing import EventLog


def client(url: str, agent: str = "guide", key: str = "key-of-ada") -> OpenAI:
    return OpenAI(base_url=f"{url}/{agent}", api_key=key, max_retries=0)


@pytest.mark.parametrize("agent", ["guide", "critic"])
def test_a_stream_is_whole_and_can_be_read_again(fastapi: str, agent: str) -> None:
    api = client(fastapi, agent)
    log = EventLog(list(api.responses.create(input="My name is Ada.", stream=True)))
    again = api.responses.retrieve(log.response["id"])

    assert log.text == again.output_text == "Nice to meet you, Ada."


@pytest.mark.parametrize("agent", ["guide", "critic"])
def test_a_refusal_of_a_stream_has_its_status(fastapi: str, agent: str) -> None:
    api = client(fastapi, agent)
    with pytest.raises(openai.BadRequestError, match="temperature"):
        api.responses.create(input="Hello", temperature=99, stream=True)
    with pytest.raises(openai.NotFoundError):
        api.responses.create(input="Hello", previous_response_id=f"caresp_{'0' * 50}", stream=True)


@pytest.mark.parametrize("agent", ["guide", "critic"])
def test_without_a_key_there_is_no_turn(fastapi: str, agent: str) -> None:
    with pytest.raises(openai.AuthenticationError, match="bearer token"):
        client(fastapi, agent, "none").responses.create(input="Hello")


def test_a_turn_in_the_background_goes_on_after_its_request(fastapi: str) -> None:
    api = client(fastapi)
    response = api.responses.create(input="Hello", background=True)
    for _ in range(200):
        if response.status not in ("queued", "in_progress"):
            break
        response = api.responses.retrieve(response.id)

    assert response.status == "completed"


def test_the_agents_have_nothing_of_each_other(fastapi: str) -> None:
    response = client(fastapi, "guide").responses.create(input="Hello")

    with pytest.raises(openai.NotFoundError):
        client(fastapi, "critic").responses.retrieve(response.id)
