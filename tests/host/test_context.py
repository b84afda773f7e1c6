"""`current_turn()`: who and what is being served, wherever the agent's code runs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from agent_framework import (
    Agent,
    AgentResponse,
    AgentResponseUpdate,
    Content,
    ResponseStream,
    agent_middleware,
    chat_middleware,
    function_middleware,
    tool,
)

from hostedagent import IsolationKeys, TurnRequest, current_turn, get_current_isolation_keys
from hostedagent.testing import OfflineChatClient, ScriptedAgent
from tests.host.world import hosting, stream

HEADERS = {
    "x-agent-user-id": "user-1",
    "x-agent-foundry-call-id": "call-1",
    "x-client-Tenant": "contoso",
    "x-other": "no",
}
CALL = Content.from_function_call("c1", "where", arguments="{}")


async def test_it_is_the_same_in_the_agent_in_middleware_and_in_tools() -> None:
    seen: dict[str, TurnRequest] = {}

    @agent_middleware
    async def around_agent(context: Any, call_next: Callable[[], Awaitable[None]]) -> None:
        seen["agent"] = current_turn()
        await call_next()

    @chat_middleware
    async def around_chat(context: Any, call_next: Callable[[], Awaitable[None]]) -> None:
        seen["chat"] = current_turn()
        await call_next()

    @function_middleware
    async def around_function(context: Any, call_next: Callable[[], Awaitable[None]]) -> None:
        seen["function"] = current_turn()
        await call_next()

    @tool
    async def where() -> str:
        """Where am I?"""
        seen["tool"] = current_turn()
        return "here"

    client = OfflineChatClient(script=[[CALL], "Done."])
    agent = Agent(client, tools=[where], middleware=[around_agent, around_chat, around_function])

    async with hosting(agent) as http:
        log = await stream(http, metadata={"a": "b"}, conversation="conv_1", user="ann")

    assert sorted(seen) == ["agent", "chat", "function", "tool"]
    (turn,) = {id(turn): turn for turn in seen.values()}.values()
    assert turn.response_id == log.response["id"]
    assert turn.conversation_id == "conv_1"
    assert turn.metadata == {"a": "b"}
    assert turn.user == "ann"
    assert turn.stream is True


async def test_it_knows_the_caller() -> None:
    turns: list[TurnRequest] = []
    keys: list[IsolationKeys] = []
    platform: list[dict[str, str]] = []

    @tool
    def where() -> str:
        """Where am I?"""
        turns.append(current_turn())
        keys.append(get_current_isolation_keys())
        platform.append(current_turn().platform_headers())
        return "here"

    agent = Agent(OfflineChatClient(script=[[CALL], "Done."] * 2), tools=[where])

    async with hosting(agent, headers=HEADERS) as http:
        await stream(http)
        await http.post("/responses", json={"input": "hi", "background": False})

    assert keys == [IsolationKeys(user="user-1")] * 2
    for turn in turns:
        assert turn.isolation == IsolationKeys(user="user-1")
        assert turn.client_headers == {"x-client-tenant": "contoso"}
    assert [row["x-agent-foundry-call-id"] for row in platform] == ["call-1"] * 2


async def test_it_knows_the_caller_in_the_background() -> None:
    seen: list[Any] = []

    @tool
    def where() -> str:
        """Where am I?"""
        turn = current_turn()
        seen.append((turn.isolation, turn.background, turn.platform_headers()["x-agent-foundry-call-id"]))
        return "here"

    agent = Agent(OfflineChatClient(script=[[CALL], "Done."]), tools=[where])

    async with hosting(agent, headers=HEADERS) as http:
        await stream(http, background=True)

    assert seen == [(IsolationKeys(user="user-1"), True, "call-1")]


async def test_a_factory_is_given_what_current_turn_says() -> None:
    seen: list[bool] = []

    async def factory(request: TurnRequest) -> ScriptedAgent:
        seen.append(current_turn() is request)
        return ScriptedAgent(["ok"])

    async with hosting(factory) as http:
        await stream(http)

    assert seen == [True]


class Yielding(ScriptedAgent):
    """Asks before and after every update, and lets all others go first."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[set[str]] = []

    def run(self, *args: Any, **kwargs: Any) -> Any:
        return ResponseStream(self._updates(), finalizer=AgentResponse.from_updates)

    async def _updates(self) -> AsyncIterator[AgentResponseUpdate]:
        seen: set[str] = set()
        for _ in range(5):
            seen.add(f"{current_turn().metadata['n']} {get_current_isolation_keys().user}")
            yield AgentResponseUpdate(contents=[Content.from_text(current_turn().metadata["n"] + " ")])
            await asyncio.sleep(0)
        self.seen.append(seen)


async def test_fifty_turns_at_once_do_not_see_each_other() -> None:
    agent = Yielding()

    async with hosting(agent) as http:

        async def one(n: int) -> str:
            body = {"input": "hi", "stream": n % 2 == 0, "store": n % 3 != 0, "metadata": {"n": str(n)}}
            reply = await http.post("/responses", json=body, headers={"x-agent-user-id": f"user-{n}"})
            if n % 2 == 0:
                return reply.log().text
            return reply.json()["output"][0]["content"][0]["text"]

        texts = await asyncio.gather(*(one(n) for n in range(50)))

    assert texts == [f"{n} " * 5 for n in range(50)]
    assert sorted(agent.seen, key=str) == sorted(({f"{n} user-{n}"} for n in range(50)), key=str)


async def test_outside_a_turn_there_is_none() -> None:
    async with hosting(ScriptedAgent(["ok"])) as http:
        await stream(http)

        with pytest.raises(LookupError):
            current_turn()
    assert get_current_isolation_keys() == IsolationKeys()
