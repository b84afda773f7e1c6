"""How long a request keeps its `Idempotency-Key` until its response exists: like a conversation, for one lease."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from hostedagent.identity import Caller
from hostedagent.stores.base import Key
from hostedagent.stores.factory import Stores
from hostedagent.stores.idempotency import IDEMPOTENCY
from hostedagent.stores.lease_settings import LeaseSettings
from hostedagent.testing import Gate, InProcessClient, Reply, ScriptedAgent
from tests.patience import PATIENCE
from tests.replicas.test_two_hosts import Cluster, begin

KEY = {"idempotency-key": "k1"}
LEASE = 60.0
FULL = {"max_turns": 1, "max_waiting": 1}


class Timed(Cluster):
    """Processes with one clock, of which one may stand still: it renews nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.still: set[str] = set()
        self.ticks = asyncio.Condition()

    def stores(self, name: str) -> Stores:
        async def sleep(seconds: float) -> None:
            until = self.now + seconds
            async with self.ticks:
                await self.ticks.wait_for(lambda: self.now >= until and name not in self.still)

        stores = super().stores(name)
        liveness = self.processes[name]
        leases = LeaseSettings(seconds=LEASE, renew_every=LEASE / 4, clock=lambda: self.now, sleep=sleep)
        return replace(stores, leases=replace(leases, liveness=liveness))

    async def wait(self, seconds: float) -> None:
        """Let time pass in steps that are shorter than a lease, so that those who renew in time do."""
        until = self.now + seconds
        while self.now < until:
            async with self.ticks:
                self.now += LEASE / 8
                self.ticks.notify_all()
            for _ in range(100):
                await asyncio.sleep(0)


async def post(client: InProcessClient) -> Reply:
    return await client.post("/responses", json={"input": "hi"}, headers=KEY)


async def waiting(client: InProcessClient, gate: Gate, cluster: Timed) -> asyncio.Task[Reply]:
    """A request with the key that waits for the slot of another turn."""
    await begin(client, gate)
    request = asyncio.create_task(post(client))
    while True:
        if await is_used(cluster):
            return request
        await asyncio.sleep(0)


async def is_used(cluster: Timed) -> bool:
    (found,) = await cluster.stores("reader").state.read(Caller(), [Key(IDEMPOTENCY, "k1")])
    return found is not None


async def test_a_request_that_waits_keeps_its_key_for_longer_than_a_lease() -> None:
    cluster, gate = Timed(), Gate()
    agent: Any = ScriptedAgent(["x", gate], ["One."])
    async with cluster.host("a", agent, **FULL) as a, cluster.host("b", ScriptedAgent(["Two."])) as b:
        first = await waiting(a, gate, cluster)
        await cluster.wait(4 * LEASE)
        again = await post(b)
        gate.open()
        async with asyncio.timeout(PATIENCE):
            whole = await first
        last = await post(b)

    assert again.status == 409 and again.headers["retry-after"]
    assert whole.json()["output"][0]["content"][0]["text"] == "One." and last.json() == whole.json()


async def test_a_process_that_stands_still_loses_the_key_after_a_lease_and_does_not_begin() -> None:
    cluster, gate = Timed(), Gate()
    stopped = ScriptedAgent(["x", gate], ["One."])
    async with cluster.host("a", stopped, **FULL) as a, cluster.host("b", ScriptedAgent(["Two."])) as b:
        first = await waiting(a, gate, cluster)
        cluster.still.add("a")
        early = await post(b)
        await cluster.wait(LEASE + 1)
        whole = await post(b)
        cluster.still.clear()
        gate.open()
        async with asyncio.timeout(PATIENCE):
            late = await first
        last = await post(a)

    assert early.status == 409 and whole.json()["output"][0]["content"][0]["text"] == "Two."
    assert late.status == 409 and last.json() == whole.json()
    assert len(stopped.calls) == 1
