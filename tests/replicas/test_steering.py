"""New input for a response that another replica runs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from hostedagent.engine import takeover
from hostedagent.identity import Caller
from hostedagent.server import forwarded_steers
from hostedagent.stores.base import StoreNotFound
from hostedagent.testing import Gate, ScriptedAgent
from tests.host.sockets import Socket
from tests.patience import PATIENCE
from tests.replicas.test_two_hosts import Cluster, begin, ended, text


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(takeover, "WATCH_SECONDS", 0.01)
    return Cluster()


async def test_the_replica_that_runs_a_response_takes_the_input_of_another(cluster: Cluster) -> None:
    gate = Gate()
    agent = ScriptedAgent(["one", gate], ["two"])
    async with cluster.host("a", agent) as a, cluster.host("b", ScriptedAgent(["not here"])) as b:
        first = await begin(a, gate)
        accepted = (await b.post(f"/responses/{first}/steer", json={"input": "more"})).json()
        gate.open()
        whole = await ended(b, first)
        while (await b.get(f"/responses/{accepted['successor']['id']}")).status == 404:
            pass
        after = await ended(b, accepted["successor"]["id"])

    assert accepted["type"] == "response.steer.accepted" and accepted["steer"]["previous_response_id"] == first
    assert (text(whole), text(after), after["previous_response_id"]) == (["one"], ["two"], first)
    assert agent.calls[1].text == "more"


async def test_a_stream_on_another_replica_tells_what_became_of_the_input(cluster: Cluster) -> None:
    gate = Gate()
    async with (
        cluster.host("a", ScriptedAgent(["one", gate], ["two"])) as a,
        cluster.host("b", ScriptedAgent(["not here"])) as b,
    ):
        first = await begin(a, gate)
        async with b.stream("POST", f"/responses/{first}/steer", json={"input": "more", "stream": True}) as told:
            events = [await told.until("response.steer.accepted")]
            gate.open()
            events += [event async for event in told]

    assert [event["type"] for event in events[:2]] == ["response.steer.accepted", "response.created"]
    assert events[-1]["type"] == "response.completed"


async def test_a_refusal_of_the_replica_that_runs_it_is_the_answer(cluster: Cluster) -> None:
    gate = Gate()
    async with (
        cluster.host("a", ScriptedAgent(["one", gate])) as a,
        cluster.host("b", ScriptedAgent(["not here"])) as b,
    ):
        first = await begin(a, gate, conversation="conv_1")
        here = await a.post(f"/responses/{first}/steer", json={"input": "more"})
        there = await b.post(f"/responses/{first}/steer", json={"input": "more"})
        gate.open()
        await ended(b, first)
        late = await b.post(f"/responses/{first}/steer", json={"input": "more"})

    assert (there.status, there.json()["error"]["code"]) == (here.status, here.json()["error"]["code"])
    assert there.json()["error"]["message"] == here.json()["error"]["message"]
    assert (late.status, late.json()["error"]["code"]) == (409, "response_already_completed")


async def test_an_input_that_no_successor_takes_over_comes_back(cluster: Cluster) -> None:
    gate = Gate()
    async with (
        cluster.host("a", ScriptedAgent(["one", gate])) as a,
        cluster.host("b", ScriptedAgent(["not here"])) as b,
    ):
        first = await begin(a, gate)
        async with b.stream("POST", f"/responses/{first}/steer", json={"input": "more", "stream": True}) as told:
            await told.until("response.steer.accepted")
            await b.post(f"/responses/{first}/cancel")
            last = [event async for event in told][-1]

    assert (last["type"], last["error"]["code"]) == ("response.steer.failed", "response_not_active")


async def test_an_input_comes_back_whose_replica_has_died(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarded_steers, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(takeover, "WATCH_SECONDS", 1_000.0)  # The first one notices nothing itself.
    gate = Gate()
    async with (
        cluster.host("a", ScriptedAgent(["one", gate])) as a,
        AsyncExitStack() as stack,
        asyncio.timeout(PATIENCE),
    ):
        monkeypatch.setattr(takeover, "WATCH_SECONDS", 0.01)
        b = await stack.enter_async_context(cluster.host("b", ScriptedAgent(["again"])))
        first = await begin(a, gate)
        async with b.stream("POST", f"/responses/{first}/steer", json={"input": "more", "stream": True}) as told:
            await told.until("response.steer.accepted")
            cluster.dead.add("a")
            last = [event async for event in told][-1]
        whole = await ended(b, first)

    assert (last["type"], last["error"]["code"]) == ("response.steer.failed", "successor_creation_failed")
    assert (last["steer"]["input"], whole["status"]) == ("more", "completed")


async def test_a_forwarded_input_is_kept_until_its_sender_has_the_answer(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters: list[str] = []
    new_id = forwarded_steers.new_item_id

    def noted(prefix: str, hint: str) -> str:
        letters.append(new_id(prefix, hint))
        return letters[-1]

    monkeypatch.setattr(forwarded_steers, "new_item_id", noted)
    gate, log = Gate(), cluster.stores("none").events
    assert log is not None
    async with (
        cluster.host("a", ScriptedAgent(["one", gate], ["two"])) as a,
        cluster.host("b", ScriptedAgent(["not here"])) as b,
    ):
        first = await begin(a, gate)
        assert (await b.post(f"/responses/{first}/steer", json={"input": 1})).status == 400
        async with b.stream("POST", f"/responses/{first}/steer", json={"input": "more", "stream": True}) as told:
            await told.until("response.steer.accepted")
            assert len(await log.read(Caller(), letters[-1])) == 2
            gate.open()
            async for _ in told:
                pass

    assert letters
    for letter in letters:
        with pytest.raises(StoreNotFound):
            await log.read(Caller(), letter)


@pytest.mark.parametrize("name", ["a", "b"])
async def test_a_socket_steers_what_runs_elsewhere(name: str, cluster: Cluster) -> None:
    gate = Gate()
    agent = ScriptedAgent(["one", gate], ["two"])
    async with cluster.host("a", agent) as a, cluster.host("b", ScriptedAgent(["not here"])) as b:
        socket = Socket(cluster.apps[name], {}, "/responses")
        await socket.open()
        first = await begin(a, gate)
        steer = {"type": "response.steer", "previous_response_id": first, "input": "more"}
        socket.send(steer)
        accepted = await socket.event()
        gate.open()
        while (await b.get(f"/responses/{accepted['successor']['id']}")).status == 404:
            pass
        after = await ended(b, accepted["successor"]["id"])
        socket.send(steer)
        late = await socket.event()
        socket.send({**steer, "previous_response_id": "resp_none"})
        unknown = await socket.event()
        await socket.leave()

    assert (accepted["type"], accepted["steer"]["previous_response_id"]) == ("response.steer.accepted", first)
    assert (text(after), after["previous_response_id"], agent.calls[1].text) == (["two"], first, "more")
    assert [late["error"]["code"], unknown["error"]["code"]] == ["response_already_completed", "response_not_found"]
