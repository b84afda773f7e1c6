"""`Idempotency-Key` on two hosts with stores of their own on one backend: one turn for one key, whichever is asked."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal

import pytest

from hostedagent import AgentHost, foundry_stores, postgres_stores
from hostedagent.emulator import Emulator
from hostedagent.stores.factory import Stores
from hostedagent.testing import Gate, InProcessClient, Reply, ScriptedAgent, serve
from tests.postgres.server import postgres_dsn, schema
from tests.stores import Identified

KEY = {"idempotency-key": "k1"}
HI = {"input": "hi"}
Pair = tuple[InProcessClient, InProcessClient]


@asynccontextmanager
async def backend(kind: str) -> AsyncGenerator[Callable[[], Stores]]:
    """What connects to one backend anew, as each process does."""
    if kind == "postgres":
        with schema() as name:
            yield lambda: postgres_stores(postgres_dsn(), schema=name)
        return
    async with Emulator(anonymous="refuse") as emulator:
        emulator.trust()
        yield lambda: foundry_stores(endpoint=emulator.endpoint, credential=emulator.credential)


@asynccontextmanager
async def two_hosts(kind: str, agent: ScriptedAgent) -> AsyncGenerator[Pair]:
    async with AsyncExitStack() as stack:
        connect = await stack.enter_async_context(backend(kind))
        hosts = [AgentHost(agent, driver="starlette", stores=connect()) for _ in range(2)]
        first, second = [await stack.enter_async_context(serve(Identified(host.app))) for host in hosts]
        yield first, second


async def post(client: InProcessClient, **fields: Any) -> Reply:
    return await client.post("/responses", json={**HI, **fields}, headers=KEY)


pytestmark = pytest.mark.parametrize("kind", ["postgres", "foundry"])
Kind = Literal["postgres", "foundry"]


async def test_a_request_whose_answer_was_lost_gets_it_from_the_other_host(kind: Kind) -> None:
    agent = ScriptedAgent(["Hello."], ["Another."])
    async with two_hosts(kind, agent) as (one, other):
        first, again = await post(one), await post(other)
        changed = await post(other, input="else")

    assert first.status == again.status == 200 and first.json()["id"] == again.json()["id"]
    assert again.json()["output"][0]["content"][0]["text"] == "Hello."
    assert changed.status == 422 and len(agent.calls) == 1


@pytest.mark.parametrize("fields", [{}, {"conversation": "c"}])
async def test_a_client_that_leaves_finds_its_turn_at_the_other_host(kind: Kind, fields: Any) -> None:
    gate = Gate()
    agent = ScriptedAgent([gate, "Hello."])
    async with two_hosts(kind, agent) as (one, other):
        lost = asyncio.create_task(post(one, **fields))
        await gate.reached()
        lost.cancel()
        running = await post(other, **fields)
        gate.open()
        while (again := await post(other, **fields)).status == 409:
            assert again.headers["retry-after"]

    assert running.status == 409 and running.headers["retry-after"]
    assert again.json()["status"] == "completed" and len(agent.calls) == 1


async def test_hosts_that_are_asked_at_the_same_time_make_one_turn(kind: Kind) -> None:
    agent = ScriptedAgent(["Hello."], ["Never."])
    async with two_hosts(kind, agent) as hosts:
        replies = await asyncio.gather(*(post(host) for host in hosts * 4))
        last = await post(hosts[1])

    assert {reply.status for reply in replies} <= {200, 409}
    assert {reply.json()["id"] for reply in (*replies, last) if reply.status == 200} == {last.json()["id"]}
    assert len(agent.calls) == 1
