"""A process that was stopped past its lease, and goes on: nothing of it counts, and a response ends only once."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from hostedagent import AgentHost
from hostedagent.host import Driver
from hostedagent.stores.base import ResponseRepository
from hostedagent.testing import Gate, InProcessClient, serve
from tests.concurrency.world import Clock, Echo, say, told
from tests.patience import PATIENCE
from tests.stores import KINDS, StoreKind, opened

ENDED = ("completed", "incomplete", "failed", "cancelled")


class StopsBefore:
    """Responses whose owner is stopped before it stores that one was completed."""

    def __init__(self, inner: ResponseRepository, gate: Gate | None) -> None:
        self._inner = inner
        self._gate = gate

    async def update(self, caller: Any, response: Mapping[str, Any]) -> None:
        if self._gate is not None and response["status"] == "completed":
            await self._gate.wait()
        await self._inner.update(caller, response)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def nothing() -> None: ...


@asynccontextmanager
async def processes(
    agent: Any, clock: Clock, kind: StoreKind, driver: Driver, stop: Gate | None = None
) -> AsyncGenerator[list[InProcessClient]]:
    """Two hosts over the same stores; the first stops at the gate."""
    async with opened(kind) as (stores, identified), AsyncExitStack() as stack:
        stack.push_async_callback(stores.aclose)
        shared = replace(stores, leases=replace(stores.leases, clock=clock, sleep=clock.sleep), aclose=nothing)
        clients: list[InProcessClient] = []
        for gate in (stop, None):
            watched: Any = StopsBefore(shared.responses, gate)
            host = AgentHost(agent, stores=replace(shared, responses=watched), driver=driver)
            clients.append(await stack.enter_async_context(serve(identified(host.app))))
        yield clients


async def ended(client: InProcessClient, response_id: str) -> Mapping[str, Any]:
    async with asyncio.timeout(PATIENCE):
        while True:
            response: Mapping[str, Any] = (await client.get(f"/responses/{response_id}")).json()
            if response["status"] in ENDED:
                return response


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_stopped_process_commits_is_in_no_later_prompt(kind: StoreKind, driver: Driver) -> None:
    stop, clock, agent = Gate(), Clock(), Echo()

    async with processes(agent, clock, kind, driver, stop) as (stopped, other):
        slow = asyncio.create_task(say(stopped, "slow"))
        await stop.reached()
        clock.now += 61
        await say(other, "quick")
        stop.open()
        answer = await slow
        await say(other, "next")
        await say(stopped, "last")
        assert (await other.get(f"/responses/{answer['id']}")).json()["status"] == "failed"

    assert answer["status"] == "failed"
    assert agent.prompts[1:] == [told("quick"), told("quick", "next"), told("quick", "next", "last")]


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_turn_that_is_running_while_another_loses_its_output_keeps_it_out_too(
    kind: StoreKind, driver: Driver
) -> None:
    stop, quick, clock = Gate(), Gate(), Clock()
    agent = Echo(quick=quick)

    async with processes(agent, clock, kind, driver, stop) as (stopped, other):
        slow = asyncio.create_task(say(stopped, "slow"))
        await stop.reached()
        clock.now += 61
        running = asyncio.create_task(say(other, "quick"))
        await quick.reached()
        stop.open()
        assert (await slow)["status"] == "failed"
        quick.open()
        assert (await running)["status"] == "completed"
        await say(stopped, "next")

    assert agent.prompts[-1] == told("quick", "next")


@pytest.mark.parametrize("conversation", [None, "conv_1"])
@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_background_turn_that_readers_were_told_has_failed_never_completes(
    kind: StoreKind, driver: Driver, conversation: str | None
) -> None:
    slow, clock = Gate(), Clock()
    agent = Echo(slow=slow)
    body = {"input": "slow", "background": True, **({"conversation": conversation} if conversation else {})}

    async with processes(agent, clock, kind, driver) as (stopped, other):
        response_id = (await stopped.post("/responses", json=body)).json()["id"]
        await slow.reached()
        assert (await other.get(f"/responses/{response_id}")).json()["status"] == "in_progress"
        clock.now += 61
        assert (await other.get(f"/responses/{response_id}")).json()["status"] == "failed"
        slow.open()
        assert (await ended(stopped, response_id))["status"] == "failed"
        assert (await other.get(f"/responses/{response_id}")).json()["status"] == "failed"
        more = {"input": "next", **({"conversation": conversation} if conversation else {})}
        assert (await other.post("/responses", json=more)).json()["status"] == "completed"

    assert agent.prompts[-1] == told("next")


class LooksLate:
    """Responses whose reader stands still before it reads a conversation again."""

    def __init__(self, inner: ResponseRepository, gate: Gate) -> None:
        self._inner = inner
        self._gate = gate
        self._reads = 0

    async def history_ids(self, caller: Any, previous: str | None, conversation: str | None, limit: int) -> list[str]:
        self._reads += conversation is not None
        if self._reads == 2:
            await self._gate.wait()
        return await self._inner.history_ids(caller, previous, conversation, limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_stopped_process_stores_while_another_turn_begins_is_not_in_its_prompt(
    kind: StoreKind, driver: Driver
) -> None:
    slow, look, clock = Gate(), Gate(), Clock()
    agent: Any = Echo(slow=slow)

    async with opened(kind) as (stores, identified), AsyncExitStack() as stack:
        stack.push_async_callback(stores.aclose)
        shared = replace(stores, leases=replace(stores.leases, clock=clock, sleep=clock.sleep), aclose=nothing)
        late: Any = LooksLate(shared.responses, look)
        stopped, other = [
            await stack.enter_async_context(serve(identified(AgentHost(agent, stores=one, driver=driver).app)))
            for one in (shared, replace(shared, responses=late))
        ]
        running = asyncio.create_task(say(stopped, "slow"))
        await slow.reached()
        clock.now += 61
        quick = asyncio.create_task(say(other, "quick"))
        await look.reached()
        slow.open()
        assert (await running)["status"] == "failed"
        look.open()
        assert (await quick)["status"] == "completed"
        await say(other, "next")

    assert agent.prompts[1:] == [told("quick"), told("quick", "next")]
