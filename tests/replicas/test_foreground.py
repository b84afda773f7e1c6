"""A turn in the foreground, as seen from a replica that does not run it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hostedagent import AgentHost, TurnRequest
from hostedagent.doors import Door, Invocations
from hostedagent.host import Driver
from hostedagent.testing import Gate, InProcessClient, Reply, ScriptedAgent, serve
from tests.patience import PATIENCE
from tests.replicas.test_two_hosts import Cluster

DRIVERS = pytest.mark.parametrize("driver", ["agentserver", "starlette"])
LINKS = pytest.mark.parametrize("link", [{}, {"conversation": "conv_1"}], ids=["alone", "in a conversation"])


@asynccontextmanager
async def host(
    cluster: Cluster, name: str, agent: ScriptedAgent, driver: Driver, *doors: Door
) -> AsyncGenerator[InProcessClient]:
    async with serve(AgentHost(agent, driver=driver, stores=cluster.stores(name), doors=doors).app) as client:
        yield client


@asynccontextmanager
async def running(driver: Driver, link: dict[str, Any], **more: Any) -> AsyncGenerator[tuple[Any, ...]]:
    """A turn in the foreground on one of two replicas, whose agent waits at a gate."""
    cluster, gate = Cluster(), Gate()
    async with (
        host(cluster, "a", ScriptedAgent(["Hel", gate, "lo."]), driver) as a,
        host(cluster, "b", ScriptedAgent(["next"]), driver) as b,
        a.stream("POST", "/responses", json={"input": "hi", "stream": True, **link, **more}) as events,
    ):
        created = await events.until("response.created")
        await gate.reached()
        yield cluster, created["response"]["id"], b, gate, events


async def get(client: InProcessClient, response_id: str) -> dict[str, Any]:
    reply = await client.get(f"/responses/{response_id}")
    assert reply.status == 200, reply.text
    return reply.json()


@DRIVERS
@LINKS
async def test_it_is_in_progress_and_then_as_it_ended(driver: Driver, link: dict[str, Any]) -> None:
    async with running(driver, link) as (_, response_id, b, gate, events):
        seen = await get(b, response_id)
        gate.open()
        await events.until("response.completed")
        whole = await get(b, response_id)

    assert (seen["status"], whole["status"]) == ("in_progress", "completed")
    assert whole["output"][0]["content"][0]["text"] == "Hello."


@DRIVERS
@LINKS
async def test_it_is_neither_deleted_nor_continued_nor_followed(driver: Driver, link: dict[str, Any]) -> None:
    async with running(driver, link) as (_, response_id, b, gate, events):
        deleted = await b.delete(f"/responses/{response_id}")
        continued = await b.post("/responses", json={"input": "more", "previous_response_id": response_id})
        followed = await b.get(f"/responses/{response_id}?stream=true")
        gate.open()
        last = await events.until("response.completed")

    assert (deleted.status, continued.status) == (400, 409), (deleted.text, continued.text)
    assert followed.status == 400, followed.text
    assert last["response"]["status"] == "completed"


@LINKS
async def test_it_is_not_cancelled_by_its_id(link: dict[str, Any]) -> None:
    async with running("starlette", link) as (_, response_id, b, gate, events):
        cancelled: Reply = await b.post(f"/responses/{response_id}/cancel")
        gate.open()
        await events.until("response.completed")

    assert cancelled.status == 404


@DRIVERS
async def test_an_invocation_is_cancelled_by_its_id(driver: Driver) -> None:
    cluster, gate = Cluster(), Gate()
    async with (
        host(cluster, "a", ScriptedAgent(["Hel", gate, "lo."]), driver, Invocations()) as a,
        host(cluster, "b", ScriptedAgent(["next"]), driver, Invocations()) as b,
    ):
        named = {"x-agent-invocation-id": "inv-1"}
        asking = asyncio.create_task(a.post("/invocations", json={"input": "hi"}, headers=named))
        await gate.reached()
        seen = await b.get("/invocations/inv-1")
        cancelled = [await b.post("/invocations/inv-1/cancel") for _ in range(2)]
        await asyncio.wait({asking})

    assert seen.json() == {"status": "in_progress"}
    assert [(one.status, one.json()) for one in cancelled] == [(200, {"status": "cancelled"})] * 2


@DRIVERS
async def test_the_id_of_an_invocation_is_free_again_if_its_process_died_before_the_turn_began(driver: Driver) -> None:
    cluster, accepting = Cluster(), asyncio.Event()

    async def stands_still(request: TurnRequest) -> TurnRequest:
        accepting.set()
        return await asyncio.get_running_loop().create_future()

    async with (
        host(cluster, "a", ScriptedAgent(), driver, Invocations(before_run=stands_still)) as a,
        host(cluster, "b", ScriptedAgent(["Hello."]), driver, Invocations()) as b,
    ):
        named = {"x-agent-invocation-id": "inv-1"}
        asking = asyncio.create_task(a.post("/invocations", json={"input": "hi"}, headers=named))
        await accepting.wait()
        early = await b.post("/invocations", json={"input": "hi"}, headers=named)
        cluster.dead.add("a")
        made = await b.post("/invocations", json={"input": "hi"}, headers=named)
        again = await b.post("/invocations", json={"input": "hi"}, headers=named)
        asking.cancel()
        await asyncio.wait({asking})

    assert [one.status for one in (early, made, again)] == [409, 200, 409]
    assert made.json()["response"] == "Hello."


@DRIVERS
@LINKS
async def test_a_reader_that_was_told_of_its_end_is_not_told_otherwise(driver: Driver, link: dict[str, Any]) -> None:
    async with running(driver, link) as (cluster, response_id, b, gate, events):
        cluster.dead.add("a")  # It is cut off, and does not know.
        seen = await get(b, response_id)
        gate.open()
        async with asyncio.timeout(PATIENCE):
            last = [event async for event in events][-1]
        after = await get(b, response_id)

    assert (seen["status"], last["type"], after["status"]) == ("failed", "response.failed", "failed")
