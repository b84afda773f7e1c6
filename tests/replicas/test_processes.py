"""Three replicas on one PostgreSQL, each in a process; some end while clients follow their turns."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.patience import PATIENCE
from tests.postgres.server import postgres_dsn, schema
from tests.replicas.replica import WORDS

PROJECT = Path(__file__).parents[2]
TERMINAL = ("response.completed", "response.failed", "response.incomplete")


@dataclass(slots=True)
class Replica:
    """A process that serves."""

    process: Process
    url: str


@dataclass(slots=True)
class Fleet:
    dsn: str
    name: str
    replicas: list[Replica] = field(default_factory=list[Replica])
    seen: int = 0
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    async def add(self) -> Replica:
        command = [sys.executable, "-m", "tests.replicas.replica", self.dsn, self.name]
        process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, cwd=PROJECT)
        assert process.stdout is not None
        replica = Replica(process, (await process.stdout.readline()).decode().strip())
        self.replicas.append(replica)
        return replica

    def see(self) -> None:
        """Take note of an event that a client got."""
        self.seen += 1
        self.grown.set()

    async def until(self, seen: int) -> None:
        """Wait until clients got so many events."""
        while self.seen < seen:
            self.grown.clear()
            await self.grown.wait()

    def pick(self) -> Replica:
        return random.choice(self.replicas)

    async def end(self, replica: Replica, how: signal.Signals) -> None:
        self.replicas.remove(replica)
        replica.process.send_signal(how)
        await replica.process.wait()


@pytest.fixture
async def fleet() -> AsyncGenerator[Fleet]:
    with schema() as name:
        fleet = Fleet(postgres_dsn(), name)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(stop, fleet)
            await asyncio.gather(*(fleet.add() for _ in range(3)))
            yield fleet


async def stop(fleet: Fleet) -> None:
    for replica in fleet.replicas:
        replica.process.kill()
        await replica.process.wait()


async def follow(fleet: Fleet, client: httpx.AsyncClient, name: str) -> list[dict[str, Any]]:
    """Ask for a turn and read its events to the end, at another replica each time that the connection is lost."""
    events: list[dict[str, Any]] = []
    body = {"input": name, "background": True, "stream": True, "conversation": name}
    while not events or events[-1]["type"] not in TERMINAL:
        url, method, sent = f"{fleet.pick().url}/responses", "POST", body
        if events:
            rid, after = events[0]["response"]["id"], events[-1]["sequence_number"]
            url, method, sent = f"{url}/{rid}?stream=true&starting_after={after}", "GET", None
        try:
            async with client.stream(method, url, json=sent) as reply:
                if reply.status_code == 503:  # It is about to end.
                    continue
                assert reply.status_code == 200, await reply.aread()
                async for line in reply.aiter_lines():
                    if line.startswith("data: "):
                        events.append(json.loads(line[6:]))
                        fleet.see()
        except httpx.TransportError:
            if not events:  # Whether the turn began is not known: a conversation of the same name would be busy.
                body["conversation"] = f"{name}-again-{random.random()}"
    return events


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_followed_turns_of_replicas_that_end_go_on_elsewhere_without_a_gap(
    fleet: Fleet, how: signal.Signals
) -> None:
    async with httpx.AsyncClient(timeout=PATIENCE) as client, asyncio.TaskGroup() as group:
        following = [group.create_task(follow(fleet, client, f"conv_{n}")) for n in range(9)]
        for seen in (100, 250):
            await fleet.until(seen)
            await fleet.end(fleet.pick(), how)
    logs = [task.result() for task in following]

    for log in logs:
        assert [event["sequence_number"] for event in log] == list(range(len(log)))
        assert log[-1]["type"] == "response.completed"
        items = log[-1]["response"]["output"]
        assert [item["type"] for item in items].count("mcp_call") == 1
        said = [item["content"][0]["text"] for item in items if item["type"] == "message"]
        assert said[-1].split() == [f"word{n}" for n in range(WORDS)]


async def read_events(client: httpx.AsyncClient, url: str, *, enough: int | None = None) -> list[dict[str, Any]]:
    """The events of a stream in the foreground under one key, to its end or until there are enough."""
    events: list[dict[str, Any]] = []
    body = {"input": "hi", "stream": True}
    async with client.stream("POST", f"{url}/responses", json=body, headers={"idempotency-key": "k"}) as reply:
        assert reply.status_code == 200, await reply.aread()
        async for line in reply.aiter_lines():
            if line.startswith("data: "):
                events.append(json.loads(line[6:]))
            if enough is not None and len(events) >= enough:
                break
    return events


async def test_who_asks_again_for_a_stream_of_a_killed_replica_learns_that_it_has_failed(fleet: Fleet) -> None:
    first, second = fleet.replicas[:2]
    async with httpx.AsyncClient(timeout=None) as client:
        before = await read_events(client, first.url, enough=6)
        await fleet.end(first, signal.SIGKILL)
        again = await read_events(client, second.url)

    assert [event["sequence_number"] for event in again] == list(range(len(again)))
    assert again[: len(before)] == before
    assert [event["type"] for event in again if event["type"] in TERMINAL] == ["response.failed"]
    assert again[-1]["response"]["error"]["message"].startswith("The server that made this response has ended.")
