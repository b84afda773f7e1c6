"""Many requests for one conversation at once: one of them is a turn, the others are refused and cost nothing."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from hostedagent.stores.factory import Stores, memory_stores, sqlite_stores
from hostedagent.testing import Gate, InProcessClient
from tests.concurrency.world import Echo, processes, say, told

MakeStores = Callable[[], Stores]


@pytest.fixture(params=["memory", "sqlite"])
def make_stores(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStores:
    return memory_stores if request.param == "memory" else lambda: sqlite_stores(tmp_path / "state.db")


async def attempt(client: InProcessClient, word: str, *, streams: bool) -> bool:
    """Say something; whether it became a turn. A loser must be refused with a status, before any event."""
    body = {"input": word, "conversation": "conv_1", "stream": streams}
    reply = await client.post("/responses", json=body)
    if reply.status == 409:
        assert reply.json()["error"]["param"] == "conversation"
        return False
    assert reply.status == 200, reply.text
    assert (reply.log().status if streams else reply.json()["status"]) == "completed"
    return True


@pytest.mark.parametrize("hosts", [1, 2])
async def test_one_of_fifty_requests_is_a_turn_while_it_runs(make_stores: MakeStores, hosts: int) -> None:
    gate = Gate()
    agent = Echo(first=gate)

    async with processes(agent, make_stores(), hosts) as clients:
        first = asyncio.create_task(attempt(clients[0], "first", streams=True))
        await gate.reached()
        others = [attempt(clients[n % hosts], f"w{n}", streams=n % 4 < 2) for n in range(49)]
        assert await asyncio.gather(*others) == [False] * 49
        assert len(agent.prompts) == 1
        gate.open()
        assert await first
        await say(clients[-1], "last")

    assert agent.prompts == [told("first"), told("first", "last")]


@pytest.mark.parametrize("hosts", [1, 2])
async def test_no_turn_of_fifty_requests_is_lost_or_doubled(make_stores: MakeStores, hosts: int) -> None:
    agent = Echo()
    winners: list[str] = []

    async with processes(agent, make_stores(), hosts) as clients:

        async def insist(n: int) -> None:
            while not await attempt(clients[n % hosts], f"w{n}", streams=n % 4 < 2):
                pass

        async def once(n: int) -> None:
            if await attempt(clients[n % hosts], f"w{n}", streams=n % 4 < 2):
                winners.append(f"w{n}")

        await asyncio.gather(*(once(n) for n in range(46)), *(insist(n) for n in range(46, 50)))
        turns = [prompt[-1].removeprefix("user: ") for prompt in agent.prompts]
        await say(clients[-1], "last")

    assert agent.most == 1
    assert sorted(turns) == sorted([*winners, "w46", "w47", "w48", "w49"])
    assert agent.prompts == [told(*turns[: n + 1]) for n in range(len(turns))] + [told(*turns, "last")]
