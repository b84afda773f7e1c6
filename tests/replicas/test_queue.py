"""Background turns beyond those that may run wait in the store, and any replica with a place takes the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hostedagent import AgentHost, HostOptions, foundry_stores
from hostedagent.engine import takeover, waiting
from hostedagent.engine.context import TurnContext
from hostedagent.engine.engine import Engine
from hostedagent.engine.recorded import RecordedResponses
from hostedagent.errors import ConfigurationError, Conflict
from hostedagent.identity import Caller
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.stores.base import LoggedEvent, StoreUnavailable
from hostedagent.stores.local import LocalEventLog
from hostedagent.stores.turn_queue import QueuedTurn, QueueLimits, QueueState, StoredTurnQueue
from hostedagent.testing import EventLog, Gate, InProcessClient, ScriptedAgent
from tests.patience import PATIENCE
from tests.replicas.test_two_hosts import BACKGROUND, Cluster, begin, ended, text


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(takeover, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(waiting, "AGAIN_SECONDS", 0.01)
    return Cluster()


@asynccontextmanager
async def replica(cluster: Cluster, name: str, agent: ScriptedAgent, **options: Any) -> AsyncGenerator[InProcessClient]:
    async with cluster.host(name, agent, **{"max_turns": 1, "max_queued": 10, **options}) as client:
        yield client


async def status(client: InProcessClient, response_id: str) -> str:
    return (await client.get(f"/responses/{response_id}")).json()["status"]


async def test_a_turn_waits_until_there_is_a_place_for_it(cluster: Cluster) -> None:
    gate = Gate()
    agent = ScriptedAgent(["a", gate], ["second"])
    async with replica(cluster, "a", agent) as client:
        first = await begin(client, gate)
        queued = (await client.post("/responses", json=BACKGROUND)).json()
        seen = (await client.get(f"/responses/{queued['id']}")).json()
        items = (await client.get(f"/responses/{queued['id']}/input_items")).json()["data"]
        gate.open()
        whole = await ended(client, queued["id"])
        await ended(client, first)

    assert (queued["status"], queued["output"], queued["background"], seen) == ("queued", [], True, queued)
    assert [item["content"][0]["text"] for item in items] == ["hi"]
    assert (whole["status"], text(whole), whole["created_at"]) == ("completed", ["second"], queued["created_at"])


async def test_a_turn_that_waits_is_not_continued(cluster: Cluster) -> None:
    gate = Gate()
    async with replica(cluster, "a", ScriptedAgent(["a", gate], ["second"], ["third"])) as client:
        first = await begin(client, gate)
        queued = (await client.post("/responses", json=BACKGROUND)).json()["id"]
        refused = await client.post("/responses", json={**BACKGROUND, "previous_response_id": queued})
        gate.open()
        await ended(client, first)
        await ended(client, queued)

    assert (refused.status, refused.headers["retry-after"]) == (409, "1")


async def test_another_replica_takes_a_turn_that_waits(cluster: Cluster) -> None:
    gate, other = Gate(), ScriptedAgent(["elsewhere"])
    async with replica(cluster, "a", ScriptedAgent(["a", gate])) as a:
        await begin(a, gate)
        queued = (await a.post("/responses", json=BACKGROUND)).json()
        async with replica(cluster, "b", other):
            whole = await ended(a, queued["id"])
        gate.open()

    assert text(whole) == ["elsewhere"] and len(other.calls) == 1


async def test_a_stream_that_waits_is_followed_from_its_first_event_on(cluster: Cluster) -> None:
    gate = Gate()
    agent = ScriptedAgent(["a", gate], ["Hel", "lo."])
    async with replica(cluster, "a", agent) as client:
        await begin(client, gate)
        async with client.stream("POST", "/responses", json={**BACKGROUND, "stream": True}) as events:
            await events.until("response.queued")
            gate.open()
            rest = [event async for event in events]
        response_id = rest[0]["response"]["id"]
        async with client.stream("GET", f"/responses/{response_id}?stream=true") as events:
            log = EventLog([event async for event in events])

    assert log.types[:4] == [
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
    ]
    assert [event["sequence_number"] for event in log.events] == list(range(len(log.events)))
    assert log.text == "Hello." and log.events[2:] == rest
    statuses = [event["response"]["status"] for event in log.events if "response" in event]
    assert statuses == ["queued", "queued", "in_progress", "completed"]


async def test_a_stream_whose_first_events_cannot_be_stored_is_refused_and_leaves_no_response(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, append, refused = Gate(), LocalEventLog.append, list[str]()

    async def fails(log: LocalEventLog, caller: Caller, response_id: str, events: Sequence[LoggedEvent]) -> None:
        if any("response.queued" in str(event.data) for event in events):
            refused.append(response_id)
            raise StoreUnavailable("The log cannot be written.")
        await append(log, caller, response_id, events)

    async with replica(cluster, "a", ScriptedAgent(["a", gate])) as client:
        await begin(client, gate)
        monkeypatch.setattr(LocalEventLog, "append", fails)
        reply = await client.post("/responses", json={**BACKGROUND, "stream": True})
        seen = await client.get(f"/responses/{refused[0]}")
        gate.open()

    assert (reply.status, seen.status) == (503, 404)
    assert await waiting_queue(cluster).state() == QueueState()


@pytest.mark.parametrize("streams", [False, True])
async def test_a_turn_that_waits_is_cancelled_and_never_runs(cluster: Cluster, streams: bool) -> None:
    gate = Gate()
    agent = ScriptedAgent(["a", gate], ["third"])
    async with replica(cluster, "a", agent) as client:
        await begin(client, gate)
        response_id = await enqueue(client, stream=streams)
        cancelled = (await client.post(f"/responses/{response_id}/cancel")).json()
        again = (await client.post("/responses", json=BACKGROUND)).json()
        gate.open()
        whole = await ended(client, again["id"])
        final = await status(client, response_id)
        if streams:
            async with client.stream("GET", f"/responses/{response_id}?stream=true") as events:
                last = [event async for event in events][-1]
            assert (last["type"], last["response"]["status"]) == ("response.failed", "cancelled")

    assert (cancelled["status"], cancelled["output"], final) == ("cancelled", [], "cancelled")
    assert text(whole) == ["third"] and len(agent.calls) == 2


async def enqueue(client: InProcessClient, **fields: Any) -> str:
    body = {**BACKGROUND, **fields}
    if not fields.get("stream"):
        return (await client.post("/responses", json=body)).json()["id"]
    async with client.stream("POST", "/responses", json=body) as events:
        return (await events.until("response.queued"))["response"]["id"]


async def test_users_take_turns_however_much_one_of_them_asks_for(cluster: Cluster) -> None:
    gate = Gate()
    agent = ScriptedAgent(["a", gate], *[["x"]] * 6)
    loud, quiet = {"x-agent-user-id": "loud"}, {"x-agent-user-id": "quiet"}
    async with replica(cluster, "a", agent) as client:
        await begin(client, gate)
        bodies = [{**BACKGROUND, "input": f"loud {n}"} for n in range(5)]
        last = [(await client.post("/responses", json=body, headers=loud)).json() for body in bodies][-1]
        await client.post("/responses", json={**BACKGROUND, "input": "quiet"}, headers=quiet)
        gate.open()
        while (await client.get(f"/responses/{last['id']}", headers=loud)).json()["status"] != "completed":
            pass

    order = [call.messages[-1].text for call in agent.calls]
    assert order.index("quiet") == 2 and [name for name in order if name.startswith("loud")] == [
        f"loud {n}" for n in range(5)
    ]


async def test_one_turn_more_than_may_wait_is_refused_with_the_time_to_try_again(cluster: Cluster) -> None:
    gate = Gate()
    agent = ScriptedAgent(["a", gate], *[["x"]] * 3)
    loud, quiet = {"x-agent-user-id": "loud"}, {"x-agent-user-id": "quiet"}
    async with replica(cluster, "a", agent, max_queued=3, max_queued_per_user=2) as client:
        await begin(client, gate)
        replies = [await client.post("/responses", json=BACKGROUND, headers=loud) for _ in range(3)]
        replies += [await client.post("/responses", json=BACKGROUND, headers=quiet) for _ in range(2)]
        foreground = await client.post("/responses", json={"input": "hi"})
        gate.open()
        await client.idle()

    assert [reply.status for reply in replies] == [200, 200, 429, 200, 429]
    assert int(replies[2].headers["retry-after"]) >= 1 and replies[2].json()["error"]["code"] == "rate_limit_exceeded"
    assert foreground.status == 429


async def test_turns_of_one_conversation_that_wait_are_made_in_their_order(cluster: Cluster) -> None:
    gate = Gate()
    agent = ScriptedAgent(["a", gate], ["one"], ["two"])
    async with replica(cluster, "a", agent) as client:
        await begin(client, gate)
        first = await enqueue(client, input="first", conversation="conv_1")
        second = await enqueue(client, input="second", conversation="conv_1")
        gate.open()
        await ended(client, first)
        await ended(client, second)

    assert [message.text for message in agent.calls[2].messages] == ["first", "one", "second"]


async def test_a_turn_whose_conversation_is_busy_waits_on(cluster: Cluster) -> None:
    gate, agent = Gate(), ScriptedAgent(["second"])
    first = ScriptedAgent(["a", gate], ["second"])
    async with replica(cluster, "a", first, when_busy="queue") as a:
        await begin(a, gate, conversation="conv_1")
        queued, before = await enqueue(a, input="next", conversation="conv_1"), "queued"
        async with replica(cluster, "b", agent) as b:
            queue = waiting_queue(cluster)
            while not (await queue.state()).takers:
                before = await status(b, queued)
            gate.open()
            whole = await ended(b, queued)

    # Either has a place when the conversation is free.
    assert (before, whole["status"], len(first.calls) + len(agent.calls)) == ("queued", "completed", 2)


async def test_what_is_wrong_with_a_request_is_said_before_it_waits(cluster: Cluster) -> None:
    gate = Gate()
    async with replica(cluster, "a", ScriptedAgent(["a", gate])) as client:
        await begin(client, gate)
        unknown = await client.post("/responses", json={**BACKGROUND, "previous_response_id": "resp_none"})
        gate.open()

    assert unknown.status == 404


async def test_a_turn_that_waits_outlives_the_replica_that_accepted_it(cluster: Cluster) -> None:
    gate = Gate()
    async with replica(cluster, "a", ScriptedAgent(["a", gate])) as a:
        await begin(a, gate)
        queued = await enqueue(a, stream=True)
        cluster.dead.add("a")
        async with replica(cluster, "b", ScriptedAgent(["b"], ["b"], ["b"]), max_turns=2) as b:
            whole = await ended(b, queued)
            async with b.stream("GET", f"/responses/{queued}?stream=true") as events:
                log = EventLog([event async for event in events])
        gate.open()

    assert text(whole) == ["b"]
    assert [event["sequence_number"] for event in log.events] == list(range(len(log.events)))


async def test_a_turn_that_a_dead_replica_had_taken_is_taken_again(cluster: Cluster) -> None:
    gate = Gate()
    async with replica(cluster, "a", ScriptedAgent(["a", gate])) as a:
        await begin(a, gate)
        queued = await enqueue(a)
        queue = waiting_queue(cluster)
        assert await queue.take("c") is not None
        cluster.dead.add("c")
        gate.open()
        async with replica(cluster, "b", ScriptedAgent(["b"], ["b"])) as b:
            assert (await ended(b, queued))["status"] == "completed"
        assert await queue.state() == QueueState()


async def test_a_process_that_comes_late_does_not_fail_a_turn_that_another_one_has_made(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stood still while it began the turn, and another process has taken the turn meanwhile."""
    gate, late, accept = Gate(), Gate(), Engine.accept

    async def accepting(engine: Engine, request: TurnRequest, *given: Any) -> Any:
        if gate.is_reached and not late.is_reached:
            await late.wait()
            raise Conflict("The turn lost its hold on the conversation.")
        return await accept(engine, request, *given)

    monkeypatch.setattr(Engine, "accept", accepting)
    async with replica(cluster, "a", ScriptedAgent(["a", gate], ["second"])) as a:
        await begin(a, gate)
        queued = await enqueue(a, input="next", conversation="conv_1")
        async with replica(cluster, "b", ScriptedAgent()) as b:
            await late.reached()
            cluster.dead.add("b")
            gate.open()
            whole = await ended(a, queued)
            cluster.dead.discard("b")
            late.open()
            await b.idle()
        after = (await a.get(f"/responses/{queued}")).json()

    assert (whole["status"], text(whole)) == ("completed", ["second"]) and after == whole


async def test_a_turn_that_cannot_begin_gives_its_conversation_back_until_it_can(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, failures, tried = Gate(), [StoreUnavailable("away")], list[str]()
    accept, start = Engine.accept, RecordedResponses.start_in_background

    async def accepting(engine: Engine, request: TurnRequest, *given: Any) -> Any:
        tried.append(request.response_id)
        return await accept(engine, request, *given)

    async def starting(self: RecordedResponses, context: TurnContext) -> dict[str, Any]:
        if context.queued_at is not None and failures:
            raise failures.pop()
        return await start(self, context)

    monkeypatch.setattr(Engine, "accept", accepting)
    monkeypatch.setattr(RecordedResponses, "start_in_background", starting)
    async with replica(cluster, "a", ScriptedAgent(["a", gate], ["second"])) as client:
        await begin(client, gate)
        queued = await enqueue(client, input="next", conversation="conv_1")
        gate.open()
        async with asyncio.timeout(PATIENCE):
            whole = await ended(client, queued)

    assert (whole["status"], text(whole), tried.count(queued)) == ("completed", ["second"], 2)


@pytest.mark.parametrize("kept", [b"{", b"[1]", b'{"body": {}}', b'{"scope": {"tenant": "t"}}'])
async def test_a_turn_that_cannot_be_read_stays_in_the_queue_and_the_others_are_begun(
    cluster: Cluster, kept: bytes
) -> None:
    queue = waiting_queue(cluster)
    unreadable = QueuedTurn("caresp_later", kept)
    await queue.put(unreadable, user="u", conversation=None, process="x", limits=QueueLimits(10, 10))
    await queue.release(unreadable.response_id)
    gate = Gate()
    async with replica(cluster, "a", ScriptedAgent(["a", gate], ["second"], ["third"])) as client:
        first = await begin(client, gate)
        second, third = await enqueue(client), await enqueue(client)
        gate.open()
        assert [text(await ended(client, one)) for one in (first, second, third)] == [["a"], ["second"], ["third"]]

    state = await queue.state()
    assert state.waiting + len(state.takers) == 1


def waiting_queue(cluster: Cluster) -> StoredTurnQueue:
    stores = cluster.stores("x")
    return StoredTurnQueue(stores.state, stores.leases.clock)


def test_a_queue_needs_turns_that_outlive_their_process() -> None:
    with pytest.raises(ConfigurationError, match="resilient_background"):
        AgentHost(ScriptedAgent(["x"]), driver="starlette", options=HostOptions(max_queued=1))


def test_turns_that_outlive_their_process_need_stores_that_answer_without_a_request() -> None:
    stores = foundry_stores(endpoint="https://example.invalid/api/projects/p")
    options = HostOptions(resilient_background=True)
    with pytest.raises(ConfigurationError, match="driver='agentserver'"):
        AgentHost(ScriptedAgent(), driver="starlette", stores=stores, options=options)
    AgentHost(ScriptedAgent(), stores=stores, options=options)
