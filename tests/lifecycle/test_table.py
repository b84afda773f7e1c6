"""The endings that leave the process alive: each cell of the table, in this process."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from hostedagent import AgentHost
from hostedagent.testing import InProcessClient, Reply, serve
from tests.lifecycle.observing import body_of, last_told, next_prompt, settled, shown
from tests.lifecycle.subject import Gates, Subject
from tests.lifecycle.table import ENDINGS, MODES, SUBJECTS, TABLE, End, Ending, Mode
from tests.stores import opened

HERE: tuple[Ending, ...] = ("completes", "fails", "cancelled", "client gone")
WORDS: dict[Ending, str] = {"completes": "quick", "fails": "fails", "cancelled": "held", "client gone": "held"}


@dataclass(slots=True)
class Cell:
    """One turn on its way to one ending."""

    client: InProcessClient
    gates: Gates
    mode: Mode
    body: dict[str, Any]

    @property
    def word(self) -> str:
        return self.body["input"]

    async def whole(self) -> str:
        """Read everything that the client is sent."""
        return last_told(self.mode, (await self._post()).body)

    async def cancelled(self) -> str:
        waiting = asyncio.create_task(self._post())
        await self.gates.reached(self.word)
        response_id = await self.gates.response(self.word)
        reply = await self.client.post(f"/responses/{response_id}/cancel")
        said = f"the cancel gets {reply.json()['status'] if reply.status == 200 else reply.status}"
        if reply.status == 200:
            await self.gates.has_stopped(self.word)
        else:
            self.gates.open(self.word)
        told = last_told(self.mode, (await waiting).body)
        match self.mode:
            case "background+stream":
                return told
            case "background":
                return f"{told}; {said}"
            case _:
                return f"{said}; {told}"

    async def left(self) -> str:
        """Hang up in the middle."""
        told = "nothing"
        if self.mode == "background":
            told = last_told(self.mode, (await self._post()).body)
        waiting = asyncio.create_task(self._post()) if self.mode != "background" else None
        await self.gates.reached(self.word)
        if waiting is not None:
            waiting.cancel()
        if self.mode.startswith("background"):
            self.gates.open(self.word)
        else:
            await self.gates.has_stopped(self.word)
        await self.client.idle()
        return told

    async def _post(self) -> Reply:
        reply = await self.client.post("/responses", json=self.body)
        assert reply.status == 200, reply.text
        return reply


SDK_CUTS = sys.version_info >= (3, 12)
"""Whether the SDK's host ends the stream of a cancelled background turn before its terminal event: on these versions of
Python it does so by itself, with any handler."""


@asynccontextmanager
async def serving() -> AsyncGenerator[tuple[InProcessClient, Subject, Gates]]:
    gates = Gates()
    subject = Subject(gates)
    async with opened() as (stores, identified):
        host = AgentHost(subject, stores=stores, hooks=subject.hooks)
        async with serve(identified(host.app)) as client:
            yield client, subject, gates


def test_the_table_says_something_of_every_cell() -> None:
    assert set(TABLE) == {(ending, mode) for ending in ENDINGS for mode in MODES}


@pytest.mark.parametrize("serves", SUBJECTS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ending", HERE)
async def test_a_turn_ends_as_the_table_says(ending: Ending, mode: Mode, serves: str) -> None:
    word, place = f"{WORDS[ending]} {mode}", "conv_1"

    async with serving() as (client, subject, gates):
        hello = await client.post("/responses", json=body_of("hello", "sync", place, serves))
        assert hello.json()["status"] == "completed", hello.text
        cell = Cell(client, gates, mode, body_of(word, mode, place, serves))
        match ending:
            case "cancelled":
                wire = await cell.cancelled()
            case "client gone":
                wire = await cell.left()
            case _:
                wire = await cell.whole()
        response = await settled(client, await gates.response(word))
        seen = End(wire, shown(response, word), await next_prompt(client, subject, word, place, serves))

    expected = TABLE[ending, mode]
    if SDK_CUTS and (ending, mode) == ("cancelled", "background+stream"):
        expected = expected._replace(wire="cut off")
    assert seen == expected
