"""A process ends when it has used an approval and stored nothing else of the turn, which then can be begun again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from hostedagent.stores.base import Etag, StoreUnavailable, Write
from hostedagent.testing import Gate, InProcessClient, ScriptedAgent
from tests.patience import PATIENCE
from tests.replicas.test_late_writes import KEY, answered
from tests.replicas.test_store_away import Failing, OnFailing, ask, ended, questions
from tests.replicas.test_two_hosts import text

pytestmark = pytest.mark.usefixtures("at_once")


class Stopping(Failing):
    """A store in which a process stops after it has used an approval."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.goes_on = asyncio.Event(), asyncio.Event()

    async def write(self, caller: Any, writes: Sequence[Write]) -> list[Etag]:
        written = await super().write(caller, writes)
        if any(_is_used(write) for write in writes) and not self.reached.is_set():
            self.reached.set()
            await self.goes_on.wait()
        return written


def _is_used(write: Write) -> bool:
    return write.key.kind == "approval-answer" and b'"approved":true' in (write.value or b"")


async def asked(client: InProcessClient) -> dict[str, Any]:
    """Let the agent ask; returns the body that says yes."""
    reply = await client.post("/responses", json={"input": "pay", "conversation": "conv_1"})
    (question,) = questions(reply.json()["output"])
    yes = {"type": "mcp_approval_response", "approval_request_id": question, "approve": True}
    return {"input": [yes], "conversation": "conv_1"}


@pytest.mark.parametrize("fields", [{"background": True}, {}], ids=["background", "foreground"])
async def test_the_same_request_uses_the_approval_of_a_process_that_has_ended(fields: dict[str, Any]) -> None:
    store = Stopping()
    cluster, agents = OnFailing(store), [ScriptedAgent([ask(1)], ["not here"]), ScriptedAgent(["Paid."], ["Again."])]
    async with cluster.pair(agents) as (a, b):
        body = {**await asked(a), **fields}
        left = asyncio.create_task(a.post("/responses", json=body, headers=KEY))
        await store.reached.wait()
        cluster.dead.add("a")
        reply = await answered(b, body)
        whole = await ended(b, reply.json()["id"])
        store.goes_on.set()  # It was only paused.
        late = await left
        again = await b.post("/responses", json={**body, **fields})

    assert (whole["status"], text(whole)) == ("completed", ["Paid."])
    assert late.status in (409, 503)
    assert again.status == 409 and "answered before" in again.text
    assert [len(agent.calls) for agent in agents] == [1, 1]


@pytest.mark.parametrize("fields", [{"background": True}, {}], ids=["background", "foreground"])
async def test_the_next_request_uses_the_approval_of_a_process_that_has_begun_nothing(fields: dict[str, Any]) -> None:
    store = Stopping()
    cluster, agents = OnFailing(store), [ScriptedAgent([ask(1)], ["not here"]), ScriptedAgent(["Paid."], ["Again."])]
    async with cluster.pair(agents) as (a, b):
        body = {**await asked(a), **fields}
        left = asyncio.create_task(a.post("/responses", json=body))
        await store.reached.wait()
        cluster.dead.add("a")
        whole = await ended(b, (await b.post("/responses", json=body)).json()["id"])
        store.goes_on.set()  # It was only paused.
        late = await left
        again = await b.post("/responses", json=body)

    assert (whole["status"], text(whole)) == ("completed", ["Paid."])
    assert late.status in (409, 503)
    assert again.status == 409 and "answered before" in again.text
    assert [len(agent.calls) for agent in agents] == [1, 1]


@pytest.mark.parametrize("headers", [KEY, {}], ids=["with its key", "without a key"])
async def test_a_process_that_ends_while_it_checks_a_turn_for_the_queue_keeps_no_approval(headers: Any) -> None:
    store, gate = Stopping(), Gate()
    agents = [ScriptedAgent([ask(1)], [gate, "Busy."], ["not here"]), ScriptedAgent(*[["Paid."]] * 3)]
    cluster = OnFailing(store)
    async with cluster.pair(agents, max_turns=1, max_queued=4) as (a, b):
        body = {**await asked(a), "background": True}
        await a.post("/responses", json={"input": "hi", "background": True, "conversation": "conv_2"})
        await gate.reached()
        left = asyncio.create_task(a.post("/responses", json=body, headers=headers))
        await store.reached.wait()
        cluster.dead.add("a")
        reply = await answered(b, body, headers)
        whole = await ended(b, reply.json()["id"])
        store.goes_on.set()
        gate.open()
        await left

    assert (whole["status"], text(whole)) == ("completed", ["Paid."])


async def test_the_next_request_uses_the_approval_of_a_process_that_stands_still_for_longer_than_a_lease() -> None:
    store = Stopping()
    cluster, agents = OnFailing(store), [ScriptedAgent([ask(1)], ["not here"]), ScriptedAgent(["Paid."], ["Again."])]
    async with cluster.pair(agents) as (a, b):
        body = by_reference(await asked(a))
        left = asyncio.create_task(a.post("/responses", json=body))
        await store.reached.wait()
        early = await b.post("/responses", json=body)
        cluster.passed = 61.0
        whole = (await b.post("/responses", json=body)).json()
        store.goes_on.set()
        late = await left

    assert (early.status, "Send it again" in early.text) == (409, True)
    assert (whole["status"], text(whole)) == ("completed", ["Paid."])
    assert late.status in (409, 503)
    assert [len(agent.calls) for agent in agents] == [1, 1]


async def test_another_request_does_not_use_the_approval_of_a_process_that_lives() -> None:
    store = Stopping()
    cluster, agents = OnFailing(store), [ScriptedAgent([ask(1)], ["Paid."]), ScriptedAgent(["not here"])]
    async with cluster.pair(agents) as (a, b):
        body = {**await asked(a), "background": True}
        begun = asyncio.create_task(a.post("/responses", json=body, headers=KEY))
        await store.reached.wait()
        del body["conversation"]
        refused = await b.post("/responses", json=body, headers={"idempotency-key": "k2"})
        store.goes_on.set()
        whole = await ended(a, (await begun).json()["id"])

    assert (whole["status"], text(whole)) == ("completed", ["Paid."])
    assert refused.status in (400, 404, 409)
    assert agents[1].calls == []


class AwayAfterUse(Failing):
    """A store that is away from the moment at which an approval has been used."""

    is_away = was_used = False

    def _fails(self, keys: Sequence[Any], when: str) -> None:
        if self.is_away and not all(key.kind in self.uncounted for key in keys):
            raise StoreUnavailable("It is away.")

    async def write(self, caller: Any, writes: Sequence[Write]) -> list[Etag]:
        written = await super().write(caller, writes)
        if any(_is_used(write) for write in writes) and not self.was_used:
            self.is_away = self.was_used = True
        return written


async def test_an_approval_whose_turn_could_not_begin_is_open_when_the_store_answers() -> None:
    store, agent = AwayAfterUse(), ScriptedAgent([ask(1)], ["Paid."])
    cluster = OnFailing(store)
    async with cluster.host("a", agent) as a, asyncio.timeout(PATIENCE):
        body = {**await asked(a), "background": True}
        refused = await a.post("/responses", json=body)
        store.is_away = False
        while (reply := await a.post("/responses", json=body)).status != 200:
            assert reply.status in (409, 503) and "answered before" not in reply.text
        whole = await ended(a, reply.json()["id"])

    assert refused.status == 503
    assert (whole["status"], text(whole)) == ("completed", ["Paid."])


def by_reference(body: dict[str, Any]) -> dict[str, Any]:
    """The same answer outside the conversation, whose lease does not keep others away."""
    (answer,) = body["input"]
    return {"input": [{"type": "item_reference", "id": answer["approval_request_id"]}, answer]}


async def test_a_response_that_was_deleted_has_used_its_approval() -> None:
    cluster, agents = OnFailing(Failing()), [ScriptedAgent([ask(1)], ["Paid."]), ScriptedAgent(["Again."])]
    async with cluster.pair(agents) as (a, b):
        body = by_reference(await asked(a))
        paid = (await a.post("/responses", json=body, headers=KEY)).json()
        assert text(paid) == ["Paid."]
        assert (await a.delete(f"/responses/{paid['id']}")).status == 200
        cluster.dead.add("a")
        again = await b.post("/responses", json=body, headers={"idempotency-key": "k2"})

    assert again.status == 409 and "answered before" in again.text and agents[1].calls == []


async def test_an_answer_whose_turn_may_still_begin_is_asked_for_again() -> None:
    store = Stopping()
    cluster, agents = OnFailing(store), [ScriptedAgent([ask(1)], ["Paid."]), ScriptedAgent(["not here"])]
    async with cluster.pair(agents) as (a, b):
        body = by_reference(await asked(a))
        begun = asyncio.create_task(a.post("/responses", json=body, headers=KEY))
        await store.reached.wait()
        refused = await b.post("/responses", json=body, headers={"idempotency-key": "k2"})
        store.goes_on.set()
        status = (await begun).status

    assert status == 200 and agents[1].calls == []
    assert refused.status == 409 and "being accepted" in refused.text and refused.headers["retry-after"]
