"""`FoundryHistoryProvider`: outside the host it reads what the host stored, and writes what the host will read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from agent_framework import Agent, Content, Message, tool
from azure.ai.agentserver.core import FoundryAgentRequestContext, reset_request_context, set_request_context

from hostedagent import (
    AgentHost,
    ConfigurationError,
    FoundryHistoryProvider,
    HostError,
    HostOptions,
    IsolationKeys,
    RequestError,
    Stores,
)
from hostedagent.emulator import call_id_for
from hostedagent.testing import InProcessClient, OfflineChatClient, ScriptedAgent, serve
from tests.stores import KINDS, StoreKind, opened

ADA, BOB = IsolationKeys("ada"), IsolationKeys("bob")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE = f"data:image/png;base64,{PIXEL}"

pytestmark = pytest.mark.parametrize("kind", KINDS)


def new_id(n: int) -> str:
    return f"caresp_{'0' * 15}{n}00{'x' * 32}"


@asynccontextmanager
async def kept(kind: StoreKind) -> AsyncGenerator[Stores]:
    async with opened(kind) as (stores, _):
        yield stores
        await stores.aclose()


@contextmanager
def calling(keys: IsolationKeys) -> Any:
    """What the platform sets around a request of a user."""
    user = keys.user or ""
    token = set_request_context(FoundryAgentRequestContext(call_id=call_id_for(user), user_id=user))
    try:
        yield
    finally:
        reset_request_context(token)


def headers(keys: IsolationKeys) -> dict[str, str]:
    user = keys.user or ""
    return {"x-agent-user-id": user, "x-agent-foundry-call-id": call_id_for(user)}


@tool
def look(city: str) -> str:
    """Look at a city."""
    return f"sunny in {city}"


REASONING = Content.from_text_reasoning(text="Paris is a city.", id="rs_1")
CALL = Content.from_function_call("c1", "look", arguments='{"city": "Paris"}')
RESULT = Content.from_function_result("c1", result="sunny in Paris")
ASK: list[Any] = [
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "How is"},
            {"type": "input_image", "image_url": IMAGE, "detail": "auto"},
        ],
    }
]
ASKED = Message("user", [Content.from_text("How is"), Content.from_uri(IMAGE, media_type="image/png")])


def seen(messages: Any) -> list[Any]:
    """Messages as a model is told them."""
    return [(message.role, [told(content) for content in message.contents]) for message in messages]


def told(content: Content) -> Any:
    match content.type:
        case "function_call":
            arguments = content.arguments
            return "call", content.call_id, json.loads(arguments) if isinstance(arguments, str) else arguments
        case "function_result":
            return "result", content.call_id, content.result
        case "data" | "uri":
            return content.type, content.uri
        case _:
            return content.type, content.text


SEEN = [
    ("user", [("text", "How is"), ("data", IMAGE)]),
    ("assistant", [("text_reasoning", "Paris is a city."), ("call", "c1", {"city": "Paris"})]),
    ("tool", [("result", "c1", "sunny in Paris")]),
    ("assistant", [("text", "Sunny.")]),
]


async def post(http: InProcessClient, given: Any, keys: IsolationKeys, **body: Any) -> dict[str, Any]:
    reply = await http.post("/responses", json={"input": given, **body}, headers=headers(keys))
    assert reply.status == 200, reply.text
    return reply.json()


async def test_it_reads_what_a_host_stored(kind: StoreKind) -> None:
    async with kept(kind) as stores:
        agent = ScriptedAgent([REASONING, CALL, RESULT, "Sunny."])
        async with serve(AgentHost(agent, stores=stores).app) as http:
            first = await post(http, ASK, ADA)
            history = FoundryHistoryProvider(stores, scope=ADA)
            with calling(ADA), history.bind_request_context(new_id(2), first["id"]):
                messages = await history.get_messages(None)

    assert seen(messages) == SEEN


async def test_a_host_reads_what_it_wrote(kind: StoreKind) -> None:
    said = [Message("assistant", [REASONING, CALL]), Message("tool", [RESULT]), Message("assistant", ["Sunny."])]

    async with kept(kind) as stores:
        history = FoundryHistoryProvider(stores, scope=ADA)
        with calling(ADA), history.bind_request_context(new_id(1)):
            await history.save_messages(None, [ASKED, *said])
        agent = ScriptedAgent(["Bye."])
        async with serve(AgentHost(agent, stores=stores).app) as http:
            await post(http, "Bye.", ADA, previous_response_id=new_id(1))
            stored = (await http.get(f"/responses/{new_id(1)}", headers=headers(ADA))).json()
            inputs = (await http.get(f"/responses/{new_id(1)}/input_items", headers=headers(ADA))).json()["data"]

    assert seen(agent.calls[0].messages) == [*SEEN, ("user", [("text", "Bye.")])]
    assert [item["type"] for item in stored["output"]] == [
        *("reasoning", "function_call", "function_call_output", "message"),
    ]
    assert (stored["object"], stored["status"], stored["model"]) == ("response", "completed", "")
    assert [part["type"] for part in inputs[0]["content"]] == ["input_text", "input_image"]


async def test_an_agent_outside_a_host_has_a_conversation_that_branches(kind: StoreKind) -> None:
    call = Content.from_function_call("c1", "look", arguments='{"city": "Oslo"}')
    model = OfflineChatClient(script=[[call], "Sunny.", "B", "C"])

    async with kept(kind) as stores:
        history = FoundryHistoryProvider(stores, scope=ADA)
        agent = Agent(model, tools=[look], context_providers=[history])
        for n, (text, previous) in enumerate([("How is Oslo?", None), ("b", new_id(0)), ("c", new_id(0))]):
            with calling(ADA), history.bind_request_context(new_id(n), previous):
                await agent.run(text)

    before = [
        "user: How is Oslo?",
        'assistant: -> look({"city": "Oslo"})',
        "tool: <- sunny in Oslo",
        "assistant: Sunny.",
    ]
    assert model.calls[2].transcript == [*before, "user: b"]
    assert model.calls[3].transcript == [*before, "user: c"]


async def test_runs_at_the_same_time_do_not_meet(kind: StoreKind) -> None:
    model = OfflineChatClient(script=["x"] * 8)

    async with kept(kind) as stores:
        history = FoundryHistoryProvider(stores, scope=ADA)
        agent = Agent(model, context_providers=[history])

        async def talk(n: int) -> None:
            for turn in (0, 1):
                previous = new_id(n) if turn else None
                with calling(ADA), history.bind_request_context(new_id(n + 4 * turn), previous):
                    await agent.run(f"q{n}{turn}")

        await asyncio.gather(*(talk(n) for n in range(4)))

    second = [call.transcript for call in model.calls if len(call.messages) > 1]
    assert sorted(second) == [[f"user: q{n}0", "assistant: x", f"user: q{n}1"] for n in range(4)]


async def test_another_user_finds_nothing(kind: StoreKind) -> None:
    async with kept(kind) as stores:
        ada, bob = (FoundryHistoryProvider(stores, scope=keys) for keys in (ADA, BOB))
        with calling(ADA), ada.bind_request_context(new_id(1)):
            await ada.save_messages(None, [Message("user", ["secret"]), Message("assistant", ["yes"])])
        with calling(BOB), bob.bind_request_context(new_id(2), new_id(1)):
            with pytest.raises(RequestError) as foreign:
                await bob.get_messages(None)
        with calling(BOB), bob.bind_request_context(new_id(2), new_id(3)):
            with pytest.raises(RequestError) as unknown:
                await bob.get_messages(None)

    assert str(foreign.value).replace(new_id(1), new_id(3)) == str(unknown.value)


async def test_a_response_is_written_once_and_grows_only_where_it_was_begun(kind: StoreKind) -> None:
    async with kept(kind) as stores:
        history = FoundryHistoryProvider(stores, scope=ADA)
        with calling(ADA), history.bind_request_context(new_id(1)):
            await history.save_messages(None, [Message("user", ["a"]), Message("assistant", ["A"])])
            await history.save_messages(None, [Message("assistant", ["B"])])
            assert seen(await history.get_messages(None)) == [
                ("user", [("text", "a")]),
                ("assistant", [("text", "A"), ("text", "B")]),
            ]
        with calling(ADA), history.bind_request_context(new_id(1)):
            with pytest.raises(RequestError, match="written before"):
                await history.save_messages(None, [Message("user", ["c"])])


async def test_without_a_binding_it_says_what_to_do(kind: StoreKind) -> None:
    async with kept(kind) as stores:
        history = FoundryHistoryProvider(stores)
        with pytest.raises(HostError, match="bind_request_context"):
            await history.get_messages(None)
        with history.bind_request_context(new_id(1)):
            assert await history.get_messages(None) == []
        with pytest.raises(HostError, match="bind_request_context"):
            await history.save_messages(None, [Message("user", ["a"])])


async def test_it_serves_in_a_host_that_leaves_the_history_to_it(kind: StoreKind) -> None:
    model = OfflineChatClient(script=["A", "B", "C", "D"])

    async with kept(kind) as stores:
        agent = Agent(model, context_providers=[FoundryHistoryProvider(stores)])
        host = AgentHost(agent, stores=stores, options=HostOptions(history="session"))
        async with serve(host.app) as http:
            first = await post(http, "a", ADA)
            await post(http, "b", ADA, previous_response_id=first["id"])
            await post(http, "c", ADA, previous_response_id=first["id"])
            assert len(first["output"]) == 1
            await post(http, "d", ADA)

    assert model.calls[1].transcript == ["user: a", "assistant: A", "user: b"]
    assert model.calls[2].transcript == ["user: a", "assistant: A", "user: c"]
    assert model.calls[3].transcript == ["user: d"]


async def test_a_host_that_replays_refuses_it(kind: StoreKind) -> None:
    async with kept(kind) as stores:
        agent = Agent(OfflineChatClient(), context_providers=[FoundryHistoryProvider(stores)])
        with pytest.raises(ConfigurationError, match="FoundryHistoryProvider"):
            AgentHost(agent, stores=stores)
