"""Odd but lawful input: the next request to each provider is one that its rules allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from agent_framework import Agent, InMemoryHistoryProvider, RawAgent
from hosted import CLIENTS, PIXEL, hosting, weather
from tests.stores import opened
from upstream import Text, ToolCall, Upstream, anthropic_client

from hostedagent import AgentHost
from hostedagent.protocol.content.reasoning import seal
from hostedagent.testing import serve

Items = list[dict[str, Any]]
FIRST: Items = [{"role": "user", "content": "a"}]
LAST: Items = [{"role": "user", "content": "b"}]
IMAGE = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"}
BETWEEN: dict[str, Items] = {
    "an empty answer": [{"role": "assistant", "content": ""}],
    "an answer without parts": [{"role": "assistant", "content": []}],
    "an image that an assistant gave": [{"role": "assistant", "content": [IMAGE]}],
    "a generated image": [{"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": PIXEL}],
    "a web search": [
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}}
    ],
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("what", BETWEEN)
async def test_what_providers_refuse_reaches_none(what: str, client: str) -> None:
    async with hosting(CLIENTS[client]) as hosted:
        hosted.script(Text("ok"))

        log = await hosted.ask([*FIRST, *BETWEEN[what], *LAST])

        assert log.status == "completed"


BEGUN: Items = [{"role": "assistant", "content": "Hello, I am Bob."}]
CALLED: Items = [
    {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "seen"},
]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("begun", [BEGUN, CALLED], ids=["a greeting", "a call"])
async def test_a_conversation_may_begin_with_the_assistant(begun: Items, client: str) -> None:
    async with hosting(CLIENTS[client]) as hosted:
        hosted.script(ToolCall("weather", {"city": "Rome"}), Text("Sunny."), Text("Next."))
        log = await hosted.ask([*begun, *LAST], conversation="conv_1")
        first = hosted.asked
        again = await hosted.ask("And?", conversation="conv_1")

    assert (log.status, again.status) == ("completed", "completed")
    assert first[-3:] == ["user: b", 'call weather {"city": "Rome"}', "result sunny in Rome"]
    assert hosted.asked[: len(first)] == first


async def test_a_greeting_is_not_kept_with_the_line_before_it() -> None:
    async with hosting(anthropic_client) as hosted:
        hosted.script(Text("ok"))
        log = await hosted.ask([*BEGUN, *LAST])
        kept = (await hosted.client.get(f"/responses/{log.response['id']}/input_items")).json()["data"]

        assert hosted.asked == [
            "user: [The conversation begins with the assistant.]",
            "assistant: Hello, I am Bob.",
            "user: b",
        ]
    assert len(kept) == 2


def with_session(**given: Any) -> Any:
    return Agent(**given, context_providers=[InMemoryHistoryProvider()])


@pytest.mark.parametrize("build", [RawAgent, with_session])
async def test_every_kind_of_agent_may_be_greeted(build: Callable[..., Any]) -> None:
    async with Upstream() as upstream, opened() as (stores, identified):
        upstream.script(Text("ok"))
        agent = build(client=anthropic_client(upstream), tools=[weather])
        async with serve(identified(AgentHost(agent, stores=stores).app)) as client:
            reply = await client.post("/responses", json={"input": [*BEGUN, *LAST]})

    assert reply.json()["status"] == "completed"


FOREIGN: dict[str, tuple[Items, str]] = {
    # Reasoning of another service, and the client that must not get it.
    "OpenAI's for Anthropic": (
        [{"type": "reasoning", "summary": [], "encrypted_content": seal("cipher", "rs_1")}],
        "anthropic",
    ),
    "OpenAI's with a summary": (
        [
            {
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": "Hm."}, {"type": "summary_text", "text": "So."}],
                "encrypted_content": seal("cipher", "rs_1"),
            }
        ],
        "anthropic",
    ),
    "that of Chat Completions": (
        [{"type": "reasoning", "summary": [], "encrypted_content": seal('[{"type": "x"}]', None)}],
        "anthropic",
    ),
    "Anthropic's for OpenAI": (
        [{"type": "reasoning", "summary": [], "encrypted_content": seal("signed", None)}],
        "responses",
    ),
    "Anthropic's for Chat Completions": (
        [{"type": "reasoning", "summary": [], "encrypted_content": seal("signed", None)}],
        "chat",
    ),
}


@pytest.mark.parametrize(("reasoning", "client"), FOREIGN.values(), ids=FOREIGN)
async def test_the_reasoning_of_another_service_is_left_out(reasoning: Items, client: str) -> None:
    said: Items = [{"role": "assistant", "content": "It is noon."}]
    async with hosting(CLIENTS[client]) as hosted:
        hosted.script(Text("ok"))
        log = await hosted.ask([*FIRST, *reasoning, *said, *LAST])

        assert log.status == "completed"
        assert hosted.asked == ["user: a", "assistant: It is noon.", "user: b"]
