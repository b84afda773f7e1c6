"""What holds through every door: one conversation, two users apart, a turn that ends with its client.

The suites `tests/isolation`, `tests/lifecycle` and `tests/hostile` have more of it, in their files `test_doors.py`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import permutations
from typing import Any

import pytest
from agent_framework import Agent

from hostedagent import Cancelled, Hooks, Outcome, TurnRequest
from hostedagent.testing import Gate, OfflineChatClient, ScriptedAgent, serve
from tests.doors.ways import WAYS, Way, host
from tests.patience import PATIENCE

DOORS: dict[str, Way] = {name: way for name, way in WAYS.items() if name != "responses"}


async def test_a_conversation_goes_on_from_every_door_to_every_other_one() -> None:
    for first, second in permutations(WAYS, 2):
        model = OfflineChatClient(script=[["One."], ["Two."], ["Three."]])
        made = host(Agent(model))
        async with serve(made.app) as http:
            said = [await WAYS[name](made, http, name, "conv_x", "ada") for name in (first, second, first)]
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
            await WAYS[door](made, http, f"{user}'s", "conv_x", user)

    assert model.calls[1].transcript == ["user: bob's"]
    assert not any("ob" in line for line in model.calls[2].transcript)


@pytest.mark.parametrize("door", WAYS)
async def test_a_conversation_that_is_taken_is_refused_with_409(door: str) -> None:
    gate = Gate()
    made = host(ScriptedAgent([gate, "One."], ["Two."]))
    async with serve(made.app) as http:
        first = asyncio.ensure_future(WAYS["responses"](made, http, "hi", "conv_x", "ada"))
        await gate.reached()
        end = (await WAYS[door](made, http, "hi", "conv_x", "ada")).end
        gate.open()
        await first

    assert end == "409"


@pytest.mark.parametrize("door", [name for name in DOORS if "ws" not in name and name != "websocket"])
async def test_a_client_that_leaves_a_door_ends_its_turn_and_the_conversation_is_free(door: str) -> None:
    gate, ended = Gate(), asyncio.Event()
    outcomes: list[Outcome] = []

    def note(request: TurnRequest, outcome: Outcome) -> None:
        outcomes.append(outcome)
        ended.set()

    made = host(ScriptedAgent(["Hel", gate], ["Again."]), hooks=Hooks(on_outcome=note))
    async with serve(made.app) as http:
        asking: asyncio.Future[Any] = asyncio.ensure_future(WAYS[door](made, http, "hi", "conv_x", "ada"))
        await gate.reached()
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
        said = await WAYS[door](made, http, "again", "conv_x", "ada")

    assert isinstance(outcomes[0], Cancelled) and said.text == "Again."
