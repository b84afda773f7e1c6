"""What holds through every door: one conversation, which has one turn at a time and one user.

The suites `tests/isolation`, `tests/lifecycle` and `tests/hostile` go through every door in their `test_doors.py`.
"""

from __future__ import annotations

import asyncio
from itertools import permutations

import pytest
from agent_framework import Agent

from hostedagent.testing import Gate, OfflineChatClient, ScriptedAgent, serve
from tests.doors.ways import WAYS, host


async def test_a_conversation_goes_on_from_every_door_to_every_other_one() -> None:
    for first, second in permutations(WAYS, 2):
        model = OfflineChatClient(script=[["One."], ["Two."], ["Three."]])
        made = host(Agent(model))
        async with serve(made.app) as http:
            said = [await WAYS[name](made.app, http, name, "conv_x", "ada") for name in (first, second, first)]
            items = (await http.get("/conversations/conv_x/items?order=asc", headers={"x-agent-user-id": "ada"})).json()

        assert [one.text for one in said] == ["One.", "Two.", "Three."], (first, second)
        assert model.calls[-1].transcript == [
            f"user: {first}",
            "assistant: One.",
            f"user: {second}",
            "assistant: Two.",
            f"user: {first}",
        ]
        assert len(items["data"]) == 6


@pytest.mark.parametrize("door", WAYS)
async def test_two_users_of_a_door_never_meet(door: str) -> None:
    model = OfflineChatClient(script=[["For Ada."], ["For Bob."], ["For Ada again."]])
    made = host(Agent(model))
    async with serve(made.app) as http:
        for user in ("ada", "bob", "ada"):
            await WAYS[door](made.app, http, f"{user}'s", "conv_x", user)

    assert model.calls[1].transcript == ["user: bob's"]
    assert not any("ob" in line for line in model.calls[2].transcript)


@pytest.mark.parametrize("door", WAYS)
async def test_a_conversation_that_is_taken_is_refused_with_409(door: str) -> None:
    gate = Gate()
    made = host(ScriptedAgent([gate, "One."], ["Two."]))
    async with serve(made.app) as http:
        first = asyncio.ensure_future(WAYS["responses"](made.app, http, "hi", "conv_x", "ada"))
        await gate.reached()
        end = (await WAYS[door](made.app, http, "hi", "conv_x", "ada")).end
        gate.open()
        await first

    assert end == "409"
