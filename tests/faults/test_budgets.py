"""What a turn costs on Foundry: how many calls of the service, how many clients, how many bytes kept."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from agent_framework import Agent

from hostedagent import AgentHost
from hostedagent.identity import Caller
from hostedagent.stores.base import Etag, Key, Write
from hostedagent.stores.factory import Stores, sqlite_stores
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.retry import RetryPolicy
from hostedagent.testing import InProcessClient, OfflineChatClient, serve
from tests.faults.world import DELIVERIES, Delivery, TurnKind, World, world


@pytest.fixture
async def served() -> AsyncIterator[World]:
    async with world(RetryPolicy()) as served:
        yield served


def split(routes: list[str]) -> tuple[list[str], list[str]]:
    """The calls of the response store and those of the state store; a caller's polling counts for neither."""
    responses = [route for route in routes if route.startswith("responses.") and route != "responses.get"]
    return responses, [route for route in routes if route.startswith(("items.", "stores."))]


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize(
    ("turn", "most_responses", "most_state"), [("first", 2, 0), ("chained", 4, 2), ("conversation", 4, 2)]
)
async def test_a_plain_turn_stays_within_its_calls(
    served: World, turn: TurnKind, delivery: Delivery, most_responses: int, most_state: int
) -> None:
    body = await served.begin("ann", turn)
    served.emulator.log.clear()
    told = await served.turn("ann", body, delivery)
    await served.http.idle()  # What is written after the caller was told counts too.

    assert told.is_done
    responses, state = split(served.emulator.log.routes)
    assert len(responses) <= most_responses, responses
    # In the background a turn marks that it runs; in a conversation its lease says that already.
    marks = 2 if delivery == "background" and turn != "conversation" else 0
    assert len(state) <= most_state + marks, state
    assert responses.count("responses.update") == 1


async def test_a_turn_that_is_not_stored_calls_nothing(served: World) -> None:
    served.emulator.log.clear()
    assert (await served.turn("ann", {"input": "say it", "store": False}, "streamed")).is_done
    assert served.emulator.log.routes == []


async def test_connections_are_kept_between_requests(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    connect = asyncio.get_running_loop().create_connection

    async def counted(*args: Any, **kwargs: Any) -> Any:
        opened.append(args)
        return await connect(*args, **kwargs)

    await served.turn("ann", {"input": "say it", "conversation": "conv_1"})
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", counted)
    for _ in range(10):
        await served.turn("ann", {"input": "say it", "conversation": "conv_1"})
    assert opened == []


async def grown(http: InProcessClient, by: str, turns: int, size: Any) -> list[int]:
    """What is stored after each turn of one conversation."""
    sizes: list[int] = []
    link: dict[str, Any] = {"conversation": "conv_1"} if by == "conversation" else {}
    for n in range(turns):
        reply = await http.post("/responses", json={"input": f"turn {n:04d}", **link})
        assert reply.status == 200 and reply.json()["status"] == "completed", reply.text
        if by != "conversation":
            link = {"previous_response_id": reply.json()["id"]}
        sizes.append(size())
    return sizes


def assert_linear(sizes: list[int]) -> None:
    early, late = sizes[20] - sizes[10], sizes[99] - sizes[89]
    assert 0 < late < early * 1.5, f"ten turns took {early} bytes at the start and {late} at the end"


def an_agent() -> Agent[Any]:
    return Agent(OfflineChatClient(script=["A short answer."] * 100))


class Counting(MemoryStore):
    """A store that knows how many bytes are in it."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[Key, int] = {}

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        self.sizes |= {write.key: len(write.value or b"") for write in writes}
        return await super().write(caller, writes)


@pytest.mark.parametrize("by", ["previous_response_id", "conversation"])
async def test_a_hundred_turns_grow_evenly_in_memory(by: str) -> None:
    store = Counting()
    async with serve(AgentHost(an_agent(), stores=Stores.over(store)).app) as http:
        assert_linear(await grown(http, by, 100, lambda: sum(store.sizes.values())))


@pytest.mark.parametrize("by", ["previous_response_id", "conversation"])
async def test_a_hundred_turns_grow_evenly_on_disk(by: str, tmp_path: Path) -> None:
    path = tmp_path / "state.db"

    def size() -> int:
        connection = sqlite3.connect(path)  # Pages of the database, whether they are in the file or in its log.
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.close()
        return pages

    async with serve(AgentHost(an_agent(), stores=sqlite_stores(path)).app) as http:
        sizes = await grown(http, by, 100, size)
    early, late = sizes[49] - sizes[9], sizes[99] - sizes[59]  # Pages are allocated several at once.
    assert 0 < late < early * 1.5, f"forty turns took {early} pages at the start and {late} at the end"


async def test_a_hundred_turns_of_a_conversation_grow_evenly_on_foundry(served: World) -> None:
    writes = ("responses.create", "responses.update", "items.create", "items.set")
    sizes: list[int] = []
    for n in range(100):
        told = await served.turn("ann", {"input": f"say {n:04d}", "conversation": "conv_growth"})
        assert told.is_done, told
        sizes.append(sum(request.body_size for request in served.emulator.log if request.route in writes))

    assert_linear(sizes)
