"""The block of `begin`: its turn is read inside, has ended after it, and streams to whoever reads its events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Literal

import pytest

from hostedagent.embed import Turns
from hostedagent.server.turn import Turn
from hostedagent.testing import EventLog, Gate, ScriptedAgent

ADA = "ada"
BODY = {"input": "hi", "conversation": "c1"}
Reads = Literal["events", "sse"]


def reading(turn: Turn, reads: Reads) -> AsyncGenerator[Any]:
    return turn.events() if reads == "events" else turn.sse()


class Broken(Exception):
    """The application's own error."""


@pytest.mark.parametrize("reads", ["events", "sse"])
@pytest.mark.parametrize("how", ["break", "raise"])
async def test_a_turn_whose_events_are_abandoned_has_ended_after_its_block(how: str, reads: Reads) -> None:
    async with Turns(ScriptedAgent(["one", Gate()], ["two"])) as turns:
        response_id = ""
        with suppress(Broken):
            async with turns.begin({**BODY, "stream": True}, ADA) as turn:
                response_id = turn.response_id
                seen = 0
                async for _ in reading(turn, reads):
                    seen += 1
                    if seen == 5 and how == "raise":
                        raise Broken
                    if seen == 5:
                        break
        left = await turns.retrieve(response_id, ADA)
        async with turns.begin(BODY, ADA) as turn:
            after = await turn.response()

    assert (left["status"], after["status"]) == ("cancelled", "completed")


async def test_a_turn_that_another_task_reads_is_stopped_when_its_block_is_left() -> None:
    gate = Gate()
    async with Turns(ScriptedAgent(["one", gate])) as turns:
        async with turns.begin({**BODY, "stream": True}, ADA) as turn:
            events = turn.events()

            async def read() -> list[str]:
                return [event["type"] async for event in events]

            task = asyncio.create_task(read())
            await gate.reached()
        seen = await task

    assert seen[-1] == "response.failed"


async def test_a_background_turn_goes_on_after_its_block() -> None:
    gate = Gate()
    async with Turns(ScriptedAgent(["one", gate, "two"])) as turns:
        async with turns.begin({"input": "hi", "background": True, "stream": True}, ADA) as turn:
            async for _ in turn.events():
                break
        gate.open()
        log = EventLog([event async for event in await turns.replay(turn.response_id, ADA)])

    assert log.response["status"] == "completed"


@pytest.mark.parametrize("reads", ["events", "sse", "response"])
async def test_a_turn_is_not_read_after_its_block(reads: str) -> None:
    agent = ScriptedAgent()
    async with Turns(agent) as turns:
        async with turns.begin(BODY, ADA) as turn:
            begun = None if reads == "response" else getattr(turn, reads)()
        with pytest.raises(RuntimeError, match="inside the block"):
            await (turn.response() if begun is None else anext(begun))

    assert not agent.calls


@pytest.mark.parametrize("background", [False, True])
async def test_events_are_those_of_a_stream_whatever_the_caller_asked_for(background: bool) -> None:
    agent = ScriptedAgent(["one", "two"])
    async with Turns(agent) as turns, turns.begin({"input": "hi", "background": background}, ADA) as turn:
        log = EventLog([event async for event in turn.events()])

    assert agent.calls[0].stream
    assert "response.output_text.delta" in log.types
