"""A process that dies at any storage call of the end of a turn: what readers are told is what later turns see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from agent_framework import AgentResponse, AgentResponseUpdate, AgentSession, Content, Message, ResponseStream

from hostedagent import AgentHost, HostOptions
from hostedagent.engine import takeover
from hostedagent.host import Driver
from hostedagent.identity import Caller
from hostedagent.stores.base import Etag, Key, Record, ResponseRepository, Store, StoreUnavailable, Write
from hostedagent.stores.batch import is_transactional
from hostedagent.stores.factory import Stores
from hostedagent.stores.lease_settings import LeaseSettings
from hostedagent.stores.responses import StoredResponses
from hostedagent.testing import InProcessClient, serve
from tests.stores import KINDS, StoreKind, opened

ENDED: Final = ("completed", "incomplete", "failed", "cancelled")
MORE: Final = 4
"""Calls that may follow after readers were told of the end."""

BY: Final = ("conversation", "previous_response_id")


@dataclass(slots=True)
class Process:
    """One of several processes on the same stores, and its death.

    Args:
        name: Its name.
        dead: The processes that have died.
        left: How many storage calls it has left; `None` while it lives on.
    """

    name: str
    dead: set[str]
    left: int | None = None
    calls: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def step(self) -> None:
        """One storage call, or the death of the process in its place."""
        self.calls += 1
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.dead.add(self.name)
                self.over.set()
        if self.name in self.dead:
            raise StoreUnavailable("The process is dead.")


class Liveness:
    """What a process knows of the others."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def name(self) -> str:
        return self._process.name

    async def is_dead(self, name: str) -> bool:
        return name in self._process.dead


class MortalStore:
    """The store of a process that may die at each call, between the records of one where that is not one write."""

    def __init__(self, inner: Store, process: Process) -> None:
        self._inner = inner
        self._process = process
        self.is_transactional = is_transactional(inner)

    async def read(self, caller: Caller, keys: Sequence[Key]) -> list[Record | None]:
        self._process.step()
        return await self._inner.read(caller, keys)

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        if self.is_transactional:
            self._process.step()
            return await self._inner.write(caller, writes)
        etags: list[Etag] = []
        for write in writes:
            self._process.step()
            etags += await self._inner.write(caller, [write])
        return etags

    async def delete(self, caller: Caller, keys: Sequence[Key], *, expect: Etag | None = None) -> None:
        self._process.step()
        await self._inner.delete(caller, keys, expect=expect)


class MortalResponses:
    """Responses in a service of their own, of a process that may die at each call."""

    def __init__(self, inner: ResponseRepository, process: Process) -> None:
        self._inner = inner
        self._process = process

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._inner, name)

        async def call(*arguments: Any) -> Any:
            self._process.step()
            return await method(*arguments)

        return call


class Counting:
    """Says what it was told last, and counts its turns in its session."""

    id = "counting"
    name: str | None = "counting"
    description: str | None = None

    def __init__(self, on_end: Callable[[str], None]) -> None:
        self._on_end = on_end
        self.prompt: list[str] = []
        self.count = 0

    def run(self, messages: Any = None, *, session: Any = None, stream: bool = False, **_: Any) -> Any:
        return ResponseStream(self._updates(list(messages), session), finalizer=AgentResponse.from_updates)

    def create_session(self, *, session_id: str | None = None) -> AgentSession:
        return AgentSession(session_id=session_id)

    def get_session(self, service_session_id: Any, *, session_id: str | None = None) -> AgentSession:
        return AgentSession(session_id=session_id, service_session_id=service_session_id)

    async def _updates(self, messages: list[Message], session: AgentSession) -> AsyncIterator[AgentResponseUpdate]:
        self.prompt = [message.text for message in messages]
        self.count = session.state["count"] = session.state.get("count", 0) + 1
        yield AgentResponseUpdate(contents=[Content.from_text(f"re {messages[-1].text}")], role="assistant")
        self._on_end(messages[-1].text)


@dataclass(slots=True)
class Running:
    """A process that serves."""

    process: Process
    client: InProcessClient
    agent: Counting

    async def say(self, text: str, **fields: Any) -> dict[str, Any]:
        reply = await self.client.post("/responses", json={"input": text, **fields})
        assert reply.status == 200, reply.text
        return reply.json()

    async def status(self, response_id: str) -> str:
        return (await self.client.get(f"/responses/{response_id}")).json()["status"]

    async def has_ended(self, response_id: str) -> bool:
        return await self.status(response_id) in ENDED


@dataclass(slots=True)
class World:
    """Processes on the same stores."""

    stores: Stores
    identified: Callable[[Any], Any]
    driver: Driver
    dead: set[str] = field(default_factory=set[str])

    @asynccontextmanager
    async def running(
        self, name: str, on_end: Callable[[str], None] = lambda _: None, **options: Any
    ) -> AsyncGenerator[Running]:
        process = Process(name, self.dead)
        state, leases = MortalStore(self.stores.state, process), LeaseSettings(liveness=Liveness(process))
        chosen = Stores.over(state, leases=leases)
        if not isinstance(self.stores.responses, StoredResponses):
            responses: Any = MortalResponses(self.stores.responses, process)
            chosen = Stores(state=state, responses=responses, signals=chosen.signals, leases=leases)
        agent = Counting(on_end)
        host = AgentHost(agent, stores=chosen, driver=self.driver, options=HostOptions(shutdown_grace=0, **options))
        async with serve(self.identified(host.app)) as client:
            yield Running(process, client, agent)

    async def killed(self, number: int, left: int | None, by: str, **options: Any) -> int:
        """Kill a process at the end of a turn, look from another one, and return how many calls the end took."""
        one: Running
        ending = asyncio.Event()

        def on_end(text: str) -> None:
            if text == "killed":
                one.process.left, one.process.calls = left, 0
                ending.set()

        begins: dict[str, Any] = {"conversation": f"conv_{number}"} if by == "conversation" else {}
        async with (
            self.running(f"one-{number}", on_end, **options) as one,
            self.running(f"two-{number}", **options) as two,
        ):
            first = await one.say("first", **begins)
            killed = await one.say("killed", background=True, **(begins or {"previous_response_id": first["id"]}))
            await ending.wait()
            while not one.process.over.is_set() and not await two.has_ended(killed["id"]):
                pass
            calls = one.process.calls
            self.dead.add(one.process.name)
            link = begins or {"previous_response_id": killed["id"]}
            await self.check(two, link, killed["id"], is_completed=left is None or "resilient_background" in options)
        return calls

    async def check(self, two: Running, link: dict[str, Any], response_id: str, *, is_completed: bool) -> None:
        while not await two.has_ended(response_id):
            pass
        status = await two.status(response_id)
        counts = ["killed", "re killed"] if status == "completed" else []
        assert status in ("completed", "failed") and (status == "completed" or not is_completed)

        following = await two.say("next", **link)
        assert two.agent.prompt == ["first", "re first", *counts, "next"]
        assert two.agent.count == len(counts) // 2 + 2

        await two.say("last", **(link if "conversation" in link else {"previous_response_id": following["id"]}))
        assert two.agent.prompt == ["first", "re first", *counts, "next", "re next", "last"]
        assert await two.status(response_id) == status


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "WATCH_SECONDS", 0.01)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_killed_process_told_is_what_later_turns_see(kind: StoreKind, driver: Driver, by: str) -> None:
    async with opened(kind) as (stores, identified):
        world = World(stores, identified, driver)
        calls = await world.killed(0, None, by)
        for number in range(1, calls + MORE):
            await world.killed(number, number - 1, by)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "foundry"])  # It serves requests of users only.
async def test_a_background_turn_that_is_taken_over_counts_wherever_it_was_killed(kind: StoreKind, by: str) -> None:
    async with opened(kind) as (stores, identified):
        world = World(stores, identified, "starlette")
        calls = await world.killed(0, None, by, resilient_background=True)
        for number in range(1, calls + MORE):
            await world.killed(number, number - 1, by, resilient_background=True)
