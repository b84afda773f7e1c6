"""Clients that send the agent's calls back in part: what is missing is taken from the stored response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from agent_framework import Agent, Content, tool

from hostedagent.testing import InProcessClient, OfflineChatClient
from tests.host.world import hosting

CALL = Content.from_function_call("c1", "weather", arguments='{"city": "Paris"}')
ASKED = ["user: Weather?", 'assistant: -> weather({"city": "Paris"})']
UNANSWERED = "tool: <- [The client did not send the result of this call back.]"


@tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


def model() -> OfflineChatClient:
    return OfflineChatClient(script=[CALL, "It is sunny.", "Next."])


async def ask(client: InProcessClient, given: Any, *, user: str | None = None, **body: Any) -> Mapping[str, Any]:
    headers = {"x-agent-user-id": user} if user else None
    reply = await client.post("/responses", json={"input": given, **body}, headers=headers)
    assert reply.status == 200, reply.text
    return reply.json()


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize(
    "lost",
    [{"output": None}, {"output": None, "status": None}, {"arguments": ""}, {"arguments": "", "output": None}],
    ids=["result", "result and status", "arguments", "both"],
)
async def test_a_call_that_comes_back_in_part_is_completed_from_the_stored_response(lost: dict[str, Any]) -> None:
    said = model()
    async with hosting(Agent(said, tools=[weather])) as client:
        call, message = (await ask(client, "Weather?"))["output"]
        await ask(client, [user("Weather?"), {**call, **lost}, message, user("And?")])

    assert said.calls[-1].transcript == [
        *ASKED,
        "tool: <- sunny in Paris",
        "assistant: It is sunny.",
        "user: And?",
    ]


async def test_two_calls_that_come_back_without_results_are_read_as_they_were_made() -> None:
    both = [CALL, Content.from_function_call("c2", "weather", arguments='{"city": "Rome"}')]
    said = OfflineChatClient(script=[both, "Both sunny.", "Next."])
    async with hosting(Agent(said, tools=[weather])) as client:
        first, second, message = (await ask(client, "Weather?"))["output"]
        given = [{**call, "output": None} for call in (first, second)]
        await ask(client, [user("Weather?"), *given, message, user("And?")])

    assert said.calls[-1].transcript[1:6] == [
        'assistant: -> weather({"city": "Paris"})',
        'assistant: -> weather({"city": "Rome"})',
        "tool: <- sunny in Paris",
        "tool: <- sunny in Rome",
        "assistant: Both sunny.",
    ]


@pytest.mark.parametrize(
    "change",
    [{"name": "other"}, {"id": "mcp_unknown"}, {"id": "mine"}, {"id": None}],
    ids=["another tool", "an unknown id", "an id of its own", "no id"],
)
async def test_a_call_that_is_not_stored_stays_as_it_was_sent(change: dict[str, Any]) -> None:
    said = model()
    async with hosting(Agent(said, tools=[weather])) as client:
        call, message = (await ask(client, "Weather?"))["output"]
        await ask(client, [user("Weather?"), {**call, "output": None, **change}, message, user("And?")])

    assert UNANSWERED in said.calls[-1].transcript


async def test_a_call_of_a_response_that_was_not_stored_stays_as_it_was_sent() -> None:
    said = model()
    async with hosting(Agent(said, tools=[weather])) as client:
        call, message = (await ask(client, "Weather?", store=False))["output"]
        await ask(client, [user("Weather?"), {**call, "output": None}, message, user("And?")], store=False)

    assert UNANSWERED in said.calls[-1].transcript


async def test_the_calls_of_another_user_are_not_found() -> None:
    said = model()
    async with hosting(Agent(said, tools=[weather])) as client:
        call, message = (await ask(client, "Weather?", user="ann"))["output"]
        await ask(client, [user("Weather?"), {**call, "output": None}, message, user("And?")], user="bob")

    assert UNANSWERED in said.calls[-1].transcript
