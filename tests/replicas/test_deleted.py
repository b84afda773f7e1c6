"""Responses that are deleted while something of their turns is still under way in another process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from hostedagent import AgentHost, HostOptions
from hostedagent.identity import Caller
from hostedagent.stores.base import Etag, StoreNotFound, Write
from hostedagent.testing import ScriptedAgent, serve
from tests.patience import PATIENCE
from tests.replicas.test_approval_left import asked, by_reference
from tests.replicas.test_late_writes import KEY
from tests.replicas.test_store_away import Failing, OnFailing, ask
from tests.replicas.test_stream_ends import Dying

pytestmark = pytest.mark.usefixtures("at_once")


async def test_a_request_whose_response_was_deleted_is_run_again_by_no_process() -> None:
    cluster, agents = OnFailing(Failing()), [ScriptedAgent(["Hello."]), ScriptedAgent(["never"])]
    async with cluster.pair(agents) as (a, b):
        first = (await a.post("/responses", json={"input": "hi"}, headers=KEY)).json()
        await a.delete(f"/responses/{first['id']}")
        replies = [await client.post("/responses", json={"input": "hi"}, headers=KEY) for client in (a, b)]
        cluster.passed = 61.0
        replies.append(await b.post("/responses", json={"input": "hi"}, headers=KEY))

    assert [reply.status for reply in replies] == [404] * 3, [reply.text for reply in replies]
    assert agents[1].calls == []


class Ending(Failing):
    """A store in which a process stops when it deletes the journal of a turn that it has saved."""

    def __init__(self) -> None:
        super().__init__()
        self.is_armed, self.reached, self.goes_on = False, asyncio.Event(), asyncio.Event()

    async def write(self, caller: Any, writes: Sequence[Write]) -> list[Etag]:
        is_end = any(write.key.kind == "recovery" and write.value is None for write in writes)
        if self.is_armed and is_end and not self.reached.is_set():
            self.reached.set()
            await self.goes_on.wait()
        return await super().write(caller, writes)


async def test_a_response_is_deleted_when_the_turn_of_its_dead_process_has_been_tidied_up() -> None:
    store = Ending()
    cluster, agents = OnFailing(store), [ScriptedAgent([ask(1)], ["Paid."]), ScriptedAgent(["Paid again."])]
    async with cluster.pair(agents) as (a, b):
        body = {**by_reference(await asked(a)), "background": True, "stream": True}
        store.is_armed = True
        running = asyncio.create_task(a.post("/responses", json=body))
        await store.reached.wait()
        response_id = _only(name for kind, name in _keys(store) if kind == "recovery")
        deleting = asyncio.create_task(b.delete(f"/responses/{response_id}"))
        cluster.dead.add("a")
        deleted = await deleting
        kept = [key for key in _keys(store) if response_id in key[1] and key[0] != "response"]
        again = await b.post("/responses", json=body)
        store.goes_on.set()
        await running

    assert deleted.status == 200 and kept == []
    assert again.status == 409 and "answered before" in again.text and agents[1].calls == []


def _keys(store: Failing) -> list[tuple[str, str]]:
    return [(place[2], place[3]) for place in store._entries]  # pyright: ignore[reportPrivateUsage]


def _only(names: Any) -> str:
    (name,) = names
    return name


async def test_the_last_events_of_a_response_are_not_stored_once_it_was_deleted() -> None:
    cluster = OnFailing(Failing())
    cluster.events = log = Dying("the terminal event")
    agent, body = ScriptedAgent(["Hel", "lo."]), {"input": "hi", "background": True, "stream": True}
    app = AgentHost(agent, driver="starlette", stores=cluster.stores("a"), options=HostOptions()).app
    async with serve(app) as client, asyncio.timeout(PATIENCE):
        async with client.stream("POST", "/responses", json=body) as events:
            response_id = (await events.until("response.created"))["response"]["id"]
        await log.reached.wait()
        deleted = await client.delete(f"/responses/{response_id}")
        log.goes_on.set()
    # The host has ended, and the turn with it.
    with pytest.raises(StoreNotFound):
        await log.read(Caller(), response_id)
    assert deleted.status == 200
