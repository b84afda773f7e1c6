"""How a turn ends through each door: the rows of the table in which a door has a part.

A door reports an end, notices that its client has left, cancels where its protocol can, and is closed with the host.
What is stored then, and what the next prompt shows, is compared with the table, cell by cell. The other rows are left
out: turns in the background and killed processes end in the stores, behind every door.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from starlette.types import ASGIApp

from hostedagent import AgentHost, HostOptions
from hostedagent.stores.factory import Stores
from hostedagent.testing import InProcessClient, serve
from tests.doors.table import DOORS
from tests.doors.ways import WAYS, Said, Way, host
from tests.lifecycle.observing import next_prompt, settled, shown
from tests.lifecycle.subject import Gates, Subject
from tests.lifecycle.table import TABLE, Ending
from tests.stores import opened

PLACE = "conv_1"


class Turns:
    """A host with every door, and the turns of one conversation in it."""

    def __init__(self, way: Way, stores: Stores, identified: Callable[[Any], ASGIApp], **options: Any) -> None:
        self.way = way
        self.gates = Gates()
        self.subject = Subject(self.gates)
        given = {"stores": stores, "hooks": self.subject.hooks, "options": HostOptions(**options)}
        self.host: AgentHost = host(self.subject, **given)
        self.app = identified(self.host.app)
        self.client = InProcessClient(self.app)

    async def say(self, word: str, **headers: str) -> Said:
        return await self.way(self.app, self.client, word, PLACE, **headers)

    async def begin(self, word: str, **headers: str) -> asyncio.Task[Said]:
        """Begin a turn that stands in the middle of its answer, behind one that has ended."""
        assert (await self.say("hello")).text == "re hello"
        asking = asyncio.create_task(self.say(word, **headers))
        await self.gates.reached(word)
        return asking

    async def became(self, word: str) -> tuple[str, str]:
        """What is stored of a turn, and what the next one shows of it."""
        response = await settled(self.client, await self.gates.response(word))
        return shown(response, word), await next_prompt(self.client, self.subject, word, PLACE, "agent")


@asynccontextmanager
async def turning(way: Way, **options: Any) -> AsyncGenerator[Turns]:
    async with opened() as (stores, identified), taking(Turns(way, stores, identified, **options)) as turns:
        yield turns


@asynccontextmanager
async def taking(turns: Turns) -> AsyncGenerator[Turns]:
    async with serve(turns.app) as client:
        turns.client = client
        yield turns


def row(ending: Ending, way: Way) -> tuple[str, str]:
    end = TABLE[ending, "stream" if way.streams else "sync"]
    return end.get, end.prompt


@pytest.mark.parametrize("door", WAYS)
@pytest.mark.parametrize(("ending", "word"), [("completes", "quick"), ("fails", "fails")])
async def test_a_turn_that_ends_by_itself(ending: Ending, word: str, door: str) -> None:
    way = WAYS[door]
    async with turning(way) as turns:
        await turns.say("hello")
        said = await turns.say(word)
        became = await turns.became(word)

    assert (said.end, became) == (TABLE[ending, "stream"].wire, row(ending, way))
    assert said.text == f"re {word}" or ending == "fails"


@pytest.mark.parametrize("door", WAYS)
async def test_a_turn_whose_client_leaves(door: str) -> None:
    way = WAYS[door]
    async with turning(way) as turns:
        asking = await turns.begin("held")
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        await turns.gates.has_stopped("held")
        await turns.client.idle()
        became = await turns.became("held")

    assert became == row("client gone", way)


@pytest.mark.parametrize("door", WAYS)
async def test_a_turn_that_is_cancelled(door: str) -> None:
    way = WAYS[door]
    if way.cancel is None:
        pytest.skip(f"{door}: {DOORS['WebSocket' if way.ends else way.door]['cancel']}")
    async with turning(way) as turns:
        asking = await turns.begin("held", **{"x-agent-invocation-id": "inv-1"})
        reply = await turns.client.post(way.cancel.format("inv-1"))
        await turns.gates.has_stopped("held")
        await asyncio.wait({asking})
        became = await turns.became("held")

    assert reply.json() == {"status": "cancelled"}
    assert became == row("client gone", way)


@pytest.mark.parametrize("door", WAYS)
@pytest.mark.parametrize(("ending", "grace"), [("SIGTERM, short", 8), ("SIGTERM, long", 0)])
async def test_a_turn_whose_host_ends(ending: Ending, grace: float, door: str) -> None:
    way = WAYS[door]
    async with opened() as (stores, identified):
        async with taking(Turns(way, stores, identified, shutdown_grace=grace)) as turns:
            asking = await turns.begin("held")
            turns.host.app.tell()  # As the server does when the signal comes.
            refused = await way(turns.app, turns.client, "more", "conv_2")
            if grace:
                turns.gates.open("held")
            said = await asking
        async with taking(Turns(way, stores, identified)) as later:
            later.gates = turns.gates
            became = await later.became("held")

    assert refused.end == "503"
    assert (said.end, became) == (TABLE[ending, "stream"].wire, row(ending, way))
    assert said.text == "re held" or not grace
