"""No user's headers ever reach another user's session, and every session ends with its turn."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest
from agent_framework import (
    Agent,
    AgentExecutor,
    AgentExecutorRequest,
    Executor,
    Message,
    WorkflowBuilder,
    WorkflowContext,
    handler,
)

from hostedagent import AgentHost, TurnRequest, memory_stores
from hostedagent.testing import Gate, OfflineChatClient, serve
from tests.mcp.server import Served, listening, serving, url_of, weather
from tests.mcp.turns import call, mcp, outputs, world

USERS = ("ann", "bob")


@pytest.fixture
async def server() -> AsyncGenerator[Served]:
    async with serving() as served:
        yield served


def _whose(request: TurnRequest) -> Mapping[str, str]:
    """What an application has: the platform says who it is, the application knows that user's token."""
    return {"authorization": f"Bearer of {request.isolation.user}"}


def _whoami_of(messages: Any, options: Any) -> Any:
    """Ask the server whose session it is, twice, then say so."""
    said = [row.result for message in messages[-1:] for row in message.contents if row.type == "function_result"]
    calls = sum(row.type == "function_call" for message in messages for row in message.contents)
    return " ".join(map(str, said)) if calls == 2 else call("whoami")


@pytest.mark.parametrize("is_legacy", [True, False], ids=["2025", "2026"])
@pytest.mark.parametrize("list_seconds", [0.0, 300.0], ids=["listed", "kept"])
async def test_twenty_turns_of_two_users_at_once_never_share_a_session(
    server: Served, is_legacy: bool, list_seconds: float
) -> None:
    server.is_legacy = is_legacy
    tools = mcp("weather", server.url, headers=_whose, list_seconds=list_seconds, patience=60)

    async with world(tools, script=[_whoami_of] * 60) as it:
        users = [USERS[n % 2] for n in range(20)]
        responses = await asyncio.gather(*(it.turn(user) for user in users))

    assert [outputs(one) for one in responses] == [[f"Bearer of {user}"] * 2 for user in users]
    credentials = {one.headers.get("authorization") for one in server.seen}
    assert credentials == {f"Bearer of {user}" for user in USERS}
    if is_legacy:  # A server of 2026 has no sessions: each request stands for itself.
        assert {len(found) for found in _by_session(server).values()} == {1}, "two users in one session"
        assert len(server.sessions()) == 20
        assert server.ended() == server.sessions()
    assert Counter(server.calls()) == {"whoami": 40}


def _by_session(server: Served) -> dict[str, set[str | None]]:
    found: dict[str, set[str | None]] = {}
    for one in server.seen:
        if one.session is not None:
            found.setdefault(one.session, set()).add(one.headers.get("authorization"))
    return found


async def test_what_a_server_lists_for_one_user_is_not_offered_to_another(server: Served) -> None:
    server.refuse["tools/list"] = lambda headers: (
        {"code": -32603, "message": "not for you"} if headers["authorization"] == "Bearer of bob" else None
    )

    async with world(mcp("weather", server.url, headers=_whose), script=["one", "two", "three"]) as it:
        for user in ("ann", "bob", "ann"):
            await it.turn(user)

    ann, bob, again = (one.tool_names for one in it.model.calls)
    assert "forecast" in ann and bob == [] and again == ann


async def test_agents_of_one_workflow_share_the_connection_of_their_turn(server: Served) -> None:
    tools = mcp("weather", server.url, headers=_whose)

    def build_workflow() -> WorkflowBuilder:
        left, right = (
            AgentExecutor(
                Agent(OfflineChatClient(script=[call("whoami"), "done"]), name=name, context_providers=[tools])
            )
            for name in ("left", "right")
        )
        both = Both(id="both")
        return WorkflowBuilder(name="both", start_executor=both).add_fan_out_edges(both, [left, right])

    async with serve(AgentHost(build_workflow, stores=memory_stores()).app) as client:
        reply = await client.post("/responses", json={"input": "hi"}, headers={"x-agent-user-id": "ann"})

    assert outputs(reply.json()) == ["Bearer of ann"] * 2
    assert len(server.sessions()) == 1 and server.ended() == server.sessions()


class Both(Executor):
    @handler
    async def begin(self, messages: list[Message], ctx: WorkflowContext[AgentExecutorRequest]) -> None:
        await ctx.send_message(AgentExecutorRequest(messages=messages, should_respond=True))


async def test_a_turn_in_the_background_has_the_identity_of_its_request(server: Served) -> None:
    async with world(mcp("weather", server.url, headers=_whose), script=[call("whoami"), "done"]) as it:
        headers = {"x-agent-user-id": "ann"}
        response = await it.turn("ann", background=True)
        while response["status"] in ("queued", "in_progress"):
            response = (await it.client.get(f"/responses/{response['id']}", headers=headers)).json()

    assert outputs(response) == ["Bearer of ann"]
    assert server.ended() == server.sessions() != set()


async def test_a_turn_that_fails_ends_its_session(server: Served) -> None:
    async with world(
        mcp("weather", server.url), script=[call("forecast", city="Rome"), RuntimeError("the model broke")]
    ) as it:
        response = await it.turn()

    assert response["status"] == "failed"
    assert server.ended() == server.sessions() != set()


@pytest.mark.parametrize("way", ["hangs up", "cancels"])
async def test_a_turn_whose_caller_goes_during_a_call_ends_its_session(way: str) -> None:
    gate = Gate()
    async with serving(weather(gate)) as server:
        async with world(mcp("weather", server.url), script=[call("wait"), "never"]) as it:
            body = {"input": "hi", "stream": True, "background": way == "cancels"}
            async with it.client.stream("POST", "/responses", json=body) as events:
                created = await anext(events)
                await gate.reached()
                if way == "cancels":
                    await it.client.post(f"/responses/{created['response']['id']}/cancel")
        assert server.ended() == server.sessions() != set()
    assert len(it.model.calls) == 1


async def test_a_turn_that_is_left_while_the_server_is_silent_ends_at_once() -> None:
    asked = asyncio.Event()

    def headers(request: TurnRequest) -> Mapping[str, str]:
        asked.set()
        return {}

    bound = listening()
    tools = mcp("slow", url_of(bound), headers=headers, patience=3600)
    async with world(tools) as it:
        async with it.client.stream("POST", "/responses", json={"input": "hi", "stream": True}) as events:
            await anext(events)
            await asked.wait()
    bound.close()

    assert it.model.calls == []
