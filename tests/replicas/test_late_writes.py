"""A request fails because a write of its response is not answered, and the write is executed after its client's retry.

The stores fail until the first request has its answer, so that nothing which it left is tidied up before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest

from hostedagent import AgentHost
from hostedagent.doors import Invocations
from hostedagent.protocol.json import decode
from hostedagent.stores import retry
from hostedagent.stores.base import Etag, StoreConflict, StoreUnavailable, Write
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.turn_queue import QueueState, StoredTurnQueue
from hostedagent.testing import Gate, InProcessClient, Reply, ScriptedAgent, serve
from tests.patience import PATIENCE
from tests.replicas.test_store_away import Failing, OnFailing, ended
from tests.replicas.test_two_hosts import begin

KEY = {"idempotency-key": "k1"}
ASKED = {"input": "hi"}  # A second turn of a conversation would be refused for another reason.
FULL = {"max_turns": 1, "max_queued": 10, "max_waiting": 1}


pytestmark = pytest.mark.usefixtures("at_once")


class Late(Failing):
    """A store on which the next write of a response is executed later.

    Until `back`, all other calls fail after it, if `goes_away` says so.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_armed, self.is_away, self.goes_away = False, False, True
        self.late: list[tuple[Any, list[Write]]] = []

    def _fails(self, keys: Sequence[Any], when: str) -> None:
        if self.is_away and not all(key.kind in self.uncounted for key in keys):
            raise StoreUnavailable("It is away.")

    async def write(self, caller: Any, writes: Sequence[Write]) -> list[Etag]:
        if self.is_armed and any(_is_response(write) for write in writes):
            self.late.append((caller, list(writes)))
            self.is_armed, self.is_away = False, self.goes_away
            raise StoreUnavailable("No answer came.")
        return await super().write(caller, writes)

    def back(self) -> None:
        self.is_away = False

    async def execute(self) -> bool:
        """Execute what is late; returns whether it was written."""
        ((caller, writes),) = self.late
        with suppress(StoreConflict):
            await MemoryStore.write(self, caller, writes)
            return True
        return False

    @property
    def late_id(self) -> str:
        """The response of the late write."""
        return next(write.key.name for write in self.late[0][1] if _is_response(write))


def _is_response(write: Write) -> bool:
    return write.key.kind == "response" and write.value is not None and decode(write.value)["response"] is not None


async def answered(client: InProcessClient, body: dict[str, Any], headers: Mapping[str, str] = KEY) -> Reply:
    """The answer to a request that its client repeats as the openai library does."""
    async with asyncio.timeout(PATIENCE):
        while (reply := await client.post("/responses", json=body, headers=headers)).status in (409, 503):
            pass
    return reply


@pytest.mark.parametrize("is_full", [True, False], ids=["queued", "at once"])
@pytest.mark.parametrize("fields", [{"background": True}, {}], ids=["background", "foreground"])
@pytest.mark.parametrize("is_early", [True, False], ids=["before the retry", "after the retry"])
async def test_a_request_whose_response_is_stored_late_makes_one_turn(
    fields: dict[str, Any], *, is_full: bool, is_early: bool
) -> None:
    if is_full and not fields:
        return  # A foreground turn does not wait in the queue.
    store, gate = Late(), Gate()
    queue = StoredTurnQueue(store, time.time)
    agent = ScriptedAgent(*[["x", gate]] * is_full, *[["Hello."]] * 4)
    body = {**ASKED, **fields}
    async with OnFailing(store).host("a", agent, **FULL) as a:
        first = await begin(a, gate) if is_full else None
        store.is_armed = True
        refused = await a.post("/responses", json=body, headers=KEY)
        if is_early:
            assert await store.execute()
        store.back()
        reply = await answered(a, body)
        was_written = is_early or await store.execute()
        gate.open()
        response = await ended(a, reply.json()["id"])
        if first is not None:
            await ended(a, first)
        async with asyncio.timeout(PATIENCE):
            while await queue.state() != QueueState():
                await a.get("/readiness")
        again = await answered(a, body)
        await a.post("/responses", json={"input": "more"})

    said = [[message.text for message in call.messages] for call in agent.calls[is_full:]]
    assert (refused.status, was_written, again.json()["id"]) == (503, is_early, reply.json()["id"])
    assert (reply.json()["id"] == store.late_id) is was_written
    if response["status"] == "failed":  # Stored, but refused: it has not begun, and no process begins it.
        assert was_written and not is_full and said == [["more"]]
    else:
        assert (response["status"], said) == ("completed", [["hi"], ["more"]])


@pytest.mark.parametrize("is_full", [True, False], ids=["queued", "at once"])
async def test_a_response_that_a_dead_process_stores_late_is_none(
    monkeypatch: pytest.MonkeyPatch, *, is_full: bool
) -> None:
    monkeypatch.setattr(retry, "RETRY_SECONDS", PATIENCE)  # It tidies nothing up.
    store, gate = Late(), Gate()
    body = {**ASKED, "background": True}
    cluster, other = OnFailing(store), ScriptedAgent(*[["Hello."]] * 4)
    async with (
        cluster.host("a", ScriptedAgent(*[["x", gate]] * is_full), **FULL) as a,
        cluster.host("b", other, **FULL) as b,
    ):
        if is_full:
            await begin(a, gate)
        store.is_armed = True
        refused = await a.post("/responses", json=body, headers=KEY)
        cluster.dead.add("a")
        store.back()
        reply = await answered(b, body)
        was_written = await store.execute()
        response = await ended(b, reply.json()["id"])
        gate.open()

    assert (refused.status, was_written, response["status"]) == (503, False, "completed")


async def test_an_invocation_whose_response_is_stored_late_makes_one_turn() -> None:
    store, agent = Late(), ScriptedAgent(*[["Hello."]] * 2)
    host = AgentHost(agent, driver="starlette", stores=OnFailing(store).stores("a"), doors=[Invocations()])
    named, body = {"x-agent-invocation-id": "inv-1"}, {"input": "hi"}
    async with serve(host.app) as client, asyncio.timeout(PATIENCE):
        store.is_armed, store.goes_away = True, False
        refused = await client.post("/invocations", json={**body, "background": True}, headers=named)
        again = await client.post("/invocations", json=body, headers=named)
        assert not (again.status == 200 and await store.execute()), "There are two responses of one invocation."

    assert refused.status == 503 and again.status in (200, 409)
