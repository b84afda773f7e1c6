"""`POST /responses/input_tokens`, as the `openai` library calls it: what is counted, and that nothing is run."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from agent_framework import Agent, tool

from hostedagent import AgentHost, HeaderScopeResolver
from hostedagent.testing import InProcessClient, OfflineChatClient, ScriptedAgent, serve


class Words:
    """Counts words, so that a test can count too."""

    def count_tokens(self, text: str) -> int:
        return text.count("word")


@tool
def look(city: str) -> str:
    """Says word word of a city."""
    return city


@asynccontextmanager
async def counting(agent: Any, **given: Any) -> AsyncGenerator[tuple[InProcessClient, openai.AsyncOpenAI]]:
    async with serve(AgentHost(agent, driver="starlette", **given).app) as client, client.openai() as api:
        yield client, api


def wordy(*script: Any, **given: Any) -> Any:
    return Agent(OfflineChatClient(script=[*script]), tokenizer=Words(), **given)


async def test_instructions_tools_and_input_are_counted() -> None:
    async with counting(wordy(instructions="word", tools=[look])) as (_, api):
        rest = await api.responses.input_tokens.count()
        more = await api.responses.input_tokens.count(input="word word", instructions="word")

    assert (rest.object, rest.input_tokens, more.input_tokens) == ("response.input_tokens", 3, 6)


@pytest.mark.parametrize("by", ["conversation", "previous_response_id"])
async def test_the_conversation_is_counted_and_not_continued(by: str) -> None:
    async with counting(wordy(["word word"], ["word"])) as (_, api):
        begun: Any = {"conversation": "chat"} if by == "conversation" else {}
        create: Any = api.responses.create
        first = await create(input="word", **begun)
        following: Any = begun or {by: first.id}
        counts = [(await api.responses.input_tokens.count(input="word", **following)).input_tokens for _ in range(2)]

    assert counts == [4, 4]


async def test_an_agent_without_a_tokenizer_is_estimated() -> None:
    agent = ScriptedAgent()
    async with counting(agent) as (_, api):
        short, long = [await api.responses.input_tokens.count(input="x" * n) for n in (4, 4_000)]

    assert 900 < long.input_tokens - short.input_tokens < 1_100 and not agent.calls


async def test_what_a_turn_would_be_refused_for_is_refused() -> None:
    async with counting(ScriptedAgent(["x"]), resolve_scope=HeaderScopeResolver(header="x-user")) as (client, _):
        made = (await client.post("/responses", json={"input": "hi"}, headers={"x-user": "ann"})).json()
        body = {"input": "hi", "previous_response_id": made["id"]}
        of_others = await client.post("/responses/input_tokens", json=body, headers={"x-user": "bob"})
        unknown = await client.post("/responses/input_tokens", json={"input": [{"type": "x"}]}, headers={"x-user": "b"})

    assert (of_others.status, unknown.status) == (404, 400)
