"""Replicas of the version before and of this one serve the same conversations while one replaces the other."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import psycopg

from hostedagent.stores.postgres.migrations import VERSION
from tests.postgres.server import postgres_dsn, schema

PROJECT = Path(__file__).parents[2]
CONVERSATIONS = 4


@asynccontextmanager
async def replica(name: str, version: str) -> AsyncGenerator[tuple[int, str]]:
    """A replica in a process: the version of the tables that it asks for, and its address."""
    command = [sys.executable, "-m", "tests.postgres.version", postgres_dsn(), name, version]
    process: Process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, cwd=PROJECT)
    try:
        assert process.stdout is not None
        number, url = (await process.stdout.readline()).decode().split()
        yield int(number), url
    finally:
        process.terminate()
        await process.wait()


@dataclass(slots=True)
class Load:
    """Conversations whose turns go to the replicas in rotation, a background turn after each other one.

    Attributes:
        urls: The replicas.
        turns: How many turns each conversation has had.
        missing: Answers without what was said at the beginning.
    """

    client: httpx.AsyncClient
    urls: list[str]
    turns: list[int] = field(default_factory=lambda: [0] * CONVERSATIONS)
    missing: list[str] = field(default_factory=list[str])
    _grown: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def talk(self, number: int) -> None:
        """One conversation, until it is cancelled."""
        await self._turn(number, "My name is Ada.", 0)
        for place in cycle(range(60)):
            answer = await self._turn(number, "What is my name?", number + place)
            if "Your name is Ada." not in answer:
                self.missing.append(answer)

    async def _turn(self, number: int, said: str, place: int) -> str:
        url, is_background = self.urls[place % len(self.urls)], place % 2 == 1
        body = {"input": said, "conversation": f"conv_{number}", "background": is_background}
        response: dict[str, Any] = (await self._post(url, body)).json()
        while response["status"] in ("queued", "in_progress"):
            there = self.urls[(place + 1) % len(self.urls)]
            response = (await self.client.get(f"{there}/responses/{response['id']}")).raise_for_status().json()
        assert response["status"] == "completed", response
        async with self._grown:
            self.turns[number] += 1
            self._grown.notify_all()
        return response["output"][-1]["content"][0]["text"]

    async def _post(self, url: str, body: dict[str, Any]) -> httpx.Response:
        while True:
            reply = await self.client.post(f"{url}/responses", json=body)
            if reply.status_code != 409:  # A background turn lets go of its conversation after it is seen to end.
                return reply.raise_for_status()

    async def each_has(self, more: int) -> None:
        """Wait until each conversation has had so many turns more."""
        wanted = [turns + more for turns in self.turns]
        async with self._grown:
            await self._grown.wait_for(lambda: all(a >= b for a, b in zip(self.turns, wanted, strict=True)))


async def test_replicas_of_two_versions_share_conversations_while_the_tables_change_under_load() -> None:
    with schema() as name:
        async with AsyncExitStack() as stack:
            earlier = await stack.enter_async_context(AsyncExitStack())
            before, old = await earlier.enter_async_context(replica(name, "earlier"))
            load = Load(await stack.enter_async_context(httpx.AsyncClient(timeout=None)), [old])
            talking = [asyncio.create_task(load.talk(number)) for number in range(CONVERSATIONS)]
            steps = asyncio.create_task(_upgrade(load, name, stack, earlier, before))
            done, _ = await asyncio.wait((steps, *talking), return_when=asyncio.FIRST_COMPLETED)
            for task in (steps, *talking):
                task.cancel()
            await asyncio.wait((steps, *talking))
            for task in done:
                task.result()  # A conversation only ends by an error.
    assert load.missing == []


async def _upgrade(load: Load, name: str, stack: AsyncExitStack, earlier: AsyncExitStack, before: int) -> None:
    await load.each_has(2)
    assert (before, _version(name)) == (VERSION - 1, VERSION - 1)
    _, new = await stack.enter_async_context(replica(name, "newest"))
    assert _version(name) == VERSION
    load.urls.append(new)
    await load.each_has(4)
    del load.urls[0]
    await load.each_has(3)  # Nothing of a conversation waits for the old one any more.
    await earlier.aclose()
    await load.each_has(2)


def _version(name: str) -> int:
    with psycopg.connect(postgres_dsn()) as connection:
        row = connection.execute(f"SELECT max(version) FROM {name}.migrations".encode()).fetchone()
    assert row is not None
    return row[0]
