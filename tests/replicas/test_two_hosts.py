"""Two hosts on the same stores: every turn can be reached from each, and one takes over what the other leaves."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from agent_framework import AgentResponseUpdate, Content

from hostedagent import AgentHost, HostOptions
from hostedagent.engine import takeover
from hostedagent.engine.commit import TurnCommit
from hostedagent.identity import Caller
from hostedagent.options import CallerPolicy
from hostedagent.stores.background import BackgroundTurns
from hostedagent.stores.base import Signal, StoreUnavailable
from hostedagent.stores.factory import Stores, memory_stores
from hostedagent.stores.journals import Journal
from hostedagent.stores.lease_settings import LeaseSettings
from hostedagent.stores.local import LocalSignals
from hostedagent.testing import EventLog, Gate, InProcessClient, ScriptedAgent, serve
from tests.patience import PATIENCE

BACKGROUND = {"input": "hi", "background": True}


class Process(LocalSignals):
    """The signals of one of several processes that share stores.

    Args:
        name: The process.
        cluster: All of them.
    """

    def __init__(self, name: str, cluster: "Cluster") -> None:
        super().__init__(is_exclusive=False)
        self._own = name
        self._cluster = cluster

    async def name(self) -> str:
        if self._own in self._cluster.dead:
            raise StoreUnavailable("The process is cut off.")
        return self._own

    async def is_dead(self, name: str) -> bool:
        return name in self._cluster.dead

    async def publish(self, signal: Signal) -> None:
        for process in self._cluster.processes.values():
            await LocalSignals.publish(process, signal)


class Cluster:
    """Processes on the same stores."""

    def __init__(self) -> None:
        self._stores = memory_stores()
        self.processes: dict[str, Process] = {}
        self.dead: set[str] = set()
        self.apps: dict[str, Any] = {}

    def stores(self, name: str) -> Stores:
        process = self.processes[name] = Process(name, self)
        return replace(self._stores, signals=process, leases=LeaseSettings(liveness=process), is_durable=True)

    @asynccontextmanager
    async def host(self, name: str, agent: ScriptedAgent, **options: Any) -> AsyncGenerator[InProcessClient]:
        chosen = HostOptions(resilient_background=True, shutdown_grace=0, **options)
        host = AgentHost(agent, driver="starlette", stores=self.stores(name), options=chosen)
        self.apps[name] = host.app
        async with serve(host.app) as client:
            yield client

    @asynccontextmanager
    async def pair(
        self, agents: Sequence[ScriptedAgent], **options: Any
    ) -> AsyncGenerator[tuple[InProcessClient, InProcessClient]]:
        """The processes "a" and "b", for as long as tests wait."""
        async with (
            self.host("a", agents[0], **options) as a,
            self.host("b", agents[1], **options) as b,
            asyncio.timeout(PATIENCE),
        ):
            yield a, b


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(takeover, "WATCH_SECONDS", 0.01)
    return Cluster()


async def ended(client: InProcessClient, response_id: str) -> dict[str, Any]:
    """A response, once it has ended."""
    async with asyncio.timeout(PATIENCE):
        while (found := (await client.get(f"/responses/{response_id}")).json())["status"] in ("queued", "in_progress"):
            pass
    return found


async def begin(client: InProcessClient, gate: Gate, **fields: Any) -> str:
    """Begin a background stream and leave when its agent waits."""
    async with client.stream("POST", "/responses", json={**BACKGROUND, "stream": True, **fields}) as events:
        created = await events.until("response.created")
        await gate.reached()
    return created["response"]["id"]


def text(response: dict[str, Any]) -> list[str]:
    return [item["content"][0]["text"] for item in response["output"] if item["status"] == "completed"]


async def test_calls_whose_results_come_one_by_one_stay_the_agents_own(cluster: Cluster) -> None:
    names = ("c1", "c2")
    calls = [Content.from_function_call(name, "add", arguments="{}") for name in names]
    results = [Content.from_function_result(name, result="3") for name in names]
    steps = [AgentResponseUpdate(contents=calls, role="assistant")]
    steps += [AgentResponseUpdate(contents=[result], role="tool") for result in results]
    async with cluster.host("a", ScriptedAgent([*steps, "Three."])) as client:
        begun = (await client.post("/responses", json=BACKGROUND)).json()
        whole = await ended(client, begun["id"])

    assert [item["type"] for item in whole["output"]] == ["mcp_call", "mcp_call", "message"]


async def test_a_running_turn_is_seen_from_another_replica(cluster: Cluster) -> None:
    gate = Gate()
    async with (
        cluster.host("a", ScriptedAgent(["Hel", gate, "lo."])) as a,
        cluster.host("b", ScriptedAgent(["not here"])) as b,
    ):
        response_id = await begin(a, gate)
        seen = (await b.get(f"/responses/{response_id}")).json()
        gate.open()
        whole = await ended(b, response_id)

    assert (seen["status"], seen["output"][0]["content"][0]["text"]) == ("in_progress", "Hel")
    assert text(whole) == ["Hello."]


async def test_a_stream_is_followed_on_another_replica_with_the_same_numbers(cluster: Cluster) -> None:
    gate = Gate()
    async with (
        cluster.host("a", ScriptedAgent(["Hel", gate, "lo."])) as a,
        cluster.host("b", ScriptedAgent(["not here"])) as b,
    ):
        response_id = await begin(a, gate)
        async with b.stream("GET", f"/responses/{response_id}?stream=true") as events:
            first = await events.until("response.output_text.delta")
            gate.open()
            rest = [event async for event in events]
        again = await a.get(f"/responses/{response_id}?stream=true")

    log = EventLog(again.log().events)
    assert log.text == "Hello." and log.events[first["sequence_number"] + 1 :] == rest


async def test_a_turn_is_cancelled_from_another_replica(cluster: Cluster) -> None:
    gate = Gate()
    async with (
        cluster.host("a", ScriptedAgent(["Hel", gate, "lo."])) as a,
        cluster.host("b", ScriptedAgent(["not here"])) as b,
    ):
        response_id = await begin(a, gate)
        cancelled = (await b.post(f"/responses/{response_id}/cancel")).json()
        here = (await a.get(f"/responses/{response_id}")).json()

    assert (cancelled["status"], here["status"]) == ("cancelled", "cancelled")


async def test_a_response_that_runs_elsewhere_is_not_continued_before_it_has_ended(cluster: Cluster) -> None:
    gate, agent = Gate(), ScriptedAgent(["next"])
    async with (
        cluster.host("a", ScriptedAgent(["Hel", gate, "lo."])) as a,
        cluster.host("b", agent) as b,
    ):
        following = {"input": "more", "previous_response_id": await begin(a, gate)}
        refused = await b.post("/responses", json=following)
        gate.open()
        await ended(b, following["previous_response_id"])
        reply = await b.post("/responses", json=following)

    assert (refused.status, refused.headers["retry-after"], reply.status) == (409, "1", 200)
    assert [message.text for message in agent.calls[0].messages] == ["hi", "Hello.", "more"]


async def test_a_response_deleted_on_another_replica_is_gone(cluster: Cluster) -> None:
    async with (
        cluster.host("a", ScriptedAgent(["Hello."])) as a,
        cluster.host("b", ScriptedAgent(["not here"])) as b,
    ):
        response_id = (await a.post("/responses", json=BACKGROUND)).json()["id"]
        await ended(b, response_id)
        deleted = await b.delete(f"/responses/{response_id}")
        again = await a.get(f"/responses/{response_id}")

    assert (deleted.status, again.status) == (200, 404)


async def test_the_turns_of_a_dead_replica_go_on_where_somebody_lives_and_count_once(cluster: Cluster) -> None:
    gate, second = Gate(), ScriptedAgent(["Hel", "lo."], ["next"])
    async with (
        cluster.host("a", ScriptedAgent(["Hel", gate, "never"])) as a,
        cluster.host("b", second) as b,
    ):
        response_id = await begin(a, gate, conversation="conv_1")
        async with b.stream("GET", f"/responses/{response_id}?stream=true") as events:
            await events.until("response.output_text.delta")
            cluster.dead.add("a")
            rest = [event async for event in events]
        whole = await ended(b, response_id)
        gate.open()  # The one that was cut off goes on, and is told.
        await a.idle()
        after = (await b.get(f"/responses/{response_id}")).json()
        async with b.stream("GET", f"/responses/{response_id}?stream=true") as events:
            log = EventLog([event async for event in events], resumed=True)
        reply = (await b.post("/responses", json={"input": "more", "conversation": "conv_1"})).json()

    assert rest[-1]["type"] == "response.completed" and text(whole) == ["Hello."] and after == whole
    assert [event["sequence_number"] for event in log.events] == list(range(len(log.events)))
    assert [message.text for message in second.calls[1].messages] == ["hi", "Hello.", "more"]
    assert reply["status"] == "completed"


async def test_a_turn_that_cannot_be_resumed_has_failed_and_its_readers_learn_of_it(cluster: Cluster) -> None:
    gate = Gate()
    tool: dict[str, Any] = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
    refuses = CallerPolicy(allow_function_tools=False)
    async with (
        cluster.host("a", ScriptedAgent(["Hel", gate, "never"])) as a,
        cluster.host("b", ScriptedAgent(["not here"]), caller=refuses) as b,
    ):
        response_id = await begin(a, gate, tools=[tool])
        async with b.stream("GET", f"/responses/{response_id}?stream=true") as events:
            cluster.dead.add("a")
            last = [event async for event in events][-1]
        response = await ended(b, response_id)

    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert (response["status"], response["error"]["code"]) == ("failed", "server_error")


async def test_several_replicas_share_the_turns_of_a_dead_one(cluster: Cluster) -> None:
    gates = [Gate() for _ in range(6)]
    rescuers = [ScriptedAgent(*([["done"]] * 6)) for _ in range(2)]
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(cluster.host("a", ScriptedAgent(*(["x", gate] for gate in gates))))
        others = [
            await stack.enter_async_context(cluster.host(name, agent))
            for name, agent in zip("bc", rescuers, strict=True)
        ]
        ids = [await begin(a, gate) for gate in gates]
        cluster.dead.add("a")
        whole = [await ended(others[n % 2], response_id) for n, response_id in enumerate(ids)]

    assert [text(response)[-1] for response in whole] == ["done"] * 6
    assert sum(len(agent.calls) for agent in rescuers) == 6


async def test_a_replica_that_ends_hands_its_turns_on(cluster: Cluster) -> None:
    gate = Gate()
    async with cluster.host("b", ScriptedAgent(["Hello."])) as b:
        async with cluster.host("a", ScriptedAgent(["Hel", gate, "never"])) as a:
            response_id = await begin(a, gate)
        whole = await ended(b, response_id)

    assert (whole["status"], text(whole)[-1]) == ("completed", "Hello.")


async def test_a_turn_that_another_replica_has_begun_since_it_was_taken_is_left_to_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores, gate, has_looked = cluster.stores("c"), Gate(), asyncio.Event()
    other, take, clear = BackgroundTurns(stores.state, stores.leases), BackgroundTurns.take, BackgroundTurns.clear

    async def is_too_late(self: BackgroundTurns, response_id: str) -> tuple[Journal, bytes] | None:
        if (taken := await take(self, response_id)) is not None:
            await other.begin(Caller(), response_id, *taken)
        return taken

    async def cleared(self: BackgroundTurns) -> None:
        await clear(self)
        has_looked.set()

    rescuer = ScriptedAgent(["never"])
    async with cluster.host("a", ScriptedAgent(["Hel", gate, "never"])) as a, cluster.host("b", rescuer):
        await other.join()
        await begin(a, gate)
        monkeypatch.setattr(BackgroundTurns, "take", is_too_late)
        monkeypatch.setattr(BackgroundTurns, "clear", cleared)
        cluster.dead.add("a")
        async with asyncio.timeout(PATIENCE):
            await has_looked.wait()

        assert rescuer.calls == []


async def test_an_answer_stays_given_where_the_process_dies_while_its_failed_turn_is_rolled_back(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    roll_back = TurnCommit.roll_back

    async def dies(self: TurnCommit, *args: Any, **fields: Any) -> None:
        monkeypatch.setattr(TurnCommit, "roll_back", roll_back)
        cluster.dead.add("a")
        raise StoreUnavailable("The process is gone.")

    call = Content.from_function_call("call_1", "pay", arguments="{}", id="call_1")
    asks = Content.from_function_approval_request("call_1", call)
    async with (
        cluster.host("a", ScriptedAgent([asks], [RuntimeError("after the tool has run")])) as a,
        cluster.host("b", ScriptedAgent(["never asked again"])) as b,
    ):
        first = (await a.post("/responses", json={"input": "hi"})).json()
        answer = {"type": "mcp_approval_response", "approval_request_id": first["output"][0]["id"], "approve": True}
        body = {"input": [answer], "previous_response_id": first["id"]}
        monkeypatch.setattr(TurnCommit, "roll_back", dies)
        second = (await a.post("/responses", json={**body, "background": True})).json()
        failed = await ended(b, second["id"])
        again = await b.post("/responses", json=body)

    assert cluster.dead == {"a"} and failed["status"] == "failed"
    assert again.status == 409 and "answered before" in again.json()["error"]["message"]


async def test_a_turn_that_is_interrupted_while_its_end_is_saved_is_not_taken_for_cancelled(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = TurnCommit.commit

    async def interrupted(self: TurnCommit, *args: Any, **fields: Any) -> None:
        monkeypatch.setattr(TurnCommit, "commit", commit)
        raise asyncio.CancelledError

    monkeypatch.setattr(TurnCommit, "commit", interrupted)
    body = {**BACKGROUND, "conversation": "conv_1"}
    async with cluster.host("a", ScriptedAgent(["one"], ["two"])) as a:
        whole = await ended(a, (await a.post("/responses", json=body)).json()["id"])

    assert (whole["status"], text(whole)) == ("completed", ["two"])


async def test_a_turn_that_the_store_never_lets_end_is_resumed_20_times(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(self: TurnCommit, *args: Any, **fields: Any) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(TurnCommit, "commit", away)
    agent = ScriptedAgent(*[["x"]] * 25)
    async with cluster.host("a", agent) as a:
        failed = await ended(a, (await a.post("/responses", json=BACKGROUND)).json()["id"])

    assert (failed["status"], failed["error"]["code"], len(agent.calls)) == ("failed", "server_error", 1 + 20)


async def test_a_slow_follower_costs_others_nothing(cluster: Cluster) -> None:
    gate = Gate()
    async with (
        cluster.host("a", ScriptedAgent(["Hel", gate, *["lo."] * 200])) as a,
        cluster.host("b", ScriptedAgent(["not here"])) as b,
    ):
        response_id = await begin(a, gate)
        path = f"/responses/{response_id}?stream=true"
        async with b.stream("GET", path) as slow, b.stream("GET", path) as quick:
            await slow.until("response.created")
            gate.open()
            types = [event["type"] async for event in quick]
            late = [event["type"] async for event in slow]

    assert types[-1] == "response.completed" and late == types[1:]
