"""Whichever call of the store fails while a background turn runs: it is resumed and ends as it would have.

The calls are those that the turn makes, one after the other. Each fails once, before it was made or after: then its
answer is lost.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Literal

import pytest
from agent_framework import Content

from hostedagent.engine import event_writer, takeover
from hostedagent.engine.event_writer import EventWriter
from hostedagent.identity import Caller, Scope
from hostedagent.protocol.json import encode
from hostedagent.stores import retry
from hostedagent.stores.base import Etag, Key, LoggedEvent, Record, StoreConflict, StoreUnavailable, Write, extend
from hostedagent.stores.base import EventLog as EventLogStore
from hostedagent.stores.factory import Stores, postgres_stores
from hostedagent.stores.lease_settings import LeaseSettings
from hostedagent.stores.local import LocalEventLog
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.stored_events import StoredEventLog
from hostedagent.testing import EventLog, Gate, InProcessClient, ScriptedAgent
from tests.patience import PATIENCE
from tests.postgres.server import postgres_dsn, schema
from tests.replicas.test_two_hosts import Cluster, Process, text
from tests.stores.records import value_of

Loses = Literal["the call", "its answer"]

ADA = Caller(Scope("ada"))
OF_REPLICAS = ("replicas", "turns")
MOST_CALLS = 60
"""More than a turn makes: one whose calls never end is a mistake."""


class Failing(MemoryStore):
    """A store of which one call fails."""

    is_transactional = True
    uncounted: Sequence[str] = OF_REPLICAS

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.at = 0
        self.loses: Loses = "the call"

    @property
    def has_failed(self) -> bool:
        return 0 < self.at <= self.calls

    def _fails(self, keys: Sequence[Key], when: Loses) -> None:
        if self.calls == self.at and self.loses == when and not all(key.kind in self.uncounted for key in keys):
            raise StoreUnavailable("It fails.")

    def _counts(self, keys: Sequence[Key]) -> None:
        # The checks of the replicas come at any time.
        self.calls += not all(key.kind in self.uncounted for key in keys)

    async def read(self, caller: Caller, keys: Sequence[Key]) -> list[Record | None]:
        self._counts(keys)
        self._fails(keys, "the call")
        found = await super().read(caller, keys)
        self._fails(keys, "its answer")
        return found

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        keys = [write.key for write in writes]
        self._counts(keys)
        self._fails(keys, "the call")
        etags = await super().write(caller, writes)
        self._fails(keys, "its answer")
        return etags

    async def delete(self, caller: Caller, keys: Sequence[Key], *, expect: Etag | None = None) -> None:
        self._counts(keys)
        self._fails(keys, "the call")
        await super().delete(caller, keys, expect=expect)
        self._fails(keys, "its answer")


class Away(Failing):
    """A store that is away for three calls, so that what a request left is not tidied up at once."""

    has_response = False

    def _fails(self, keys: Sequence[Key], when: Loses) -> None:
        self.has_response |= any(key.kind == "response" for key in keys)
        is_later = self.at < self.calls < self.at + 3
        if self.at and not all(key.kind in self.uncounted for key in keys):
            if (self.calls == self.at and self.loses == when) or is_later:
                raise StoreUnavailable("It is away.")


class Dying(Failing):
    """A store in which a process dies at the end of a run: when its journal says so, or when the turn is saved.

    Args:
        kind: The kind of record that is written then.
        is_written: Whether it is written before.
    """

    def __init__(self, kind: str, *, is_written: bool) -> None:
        super().__init__()
        self._kind = kind
        self._is_written = is_written
        self.reached, self.goes_on = asyncio.Event(), asyncio.Event()

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        rows = [value_of(write) for write in writes if write.key.kind == self._kind]
        if self.reached.is_set() or not any("ended" not in row or row["ended"] for row in rows):
            return await super().write(caller, writes)
        written = await super().write(caller, writes) if self._is_written else None
        self.reached.set()
        await self.goes_on.wait()
        return written if written is not None else await super().write(caller, writes)


class OnFailing(Cluster):
    """Processes on a store that fails."""

    def __init__(self, store: Failing) -> None:
        super().__init__()
        self._failing, self.events = store, LocalEventLog()
        self.passed = 0.0
        """Seconds that the clock of all processes is ahead."""

    def stores(self, name: str) -> Stores:
        process = self.processes[name] = Process(name, self)
        leases = LeaseSettings(liveness=process, clock=lambda: time.time() + self.passed)
        return Stores.over(self._failing, signals=process, events=self.events, leases=leases)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "WATCH_SECONDS", 0.001)
    monkeypatch.setattr(event_writer, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(retry, "RETRY_SECONDS", 0.0)


async def ended(client: InProcessClient, response_id: str) -> dict[str, Any]:
    """A response that has ended, asked for until the store answers."""
    while True:
        reply = await client.get(f"/responses/{response_id}")
        if reply.status == 200 and reply.json()["status"] not in ("queued", "in_progress"):
            return reply.json()
        assert reply.status in (200, 503), reply.text


async def stream_of(client: InProcessClient, response_id: str) -> EventLog:
    """Its events, from the first to the end."""
    async with client.stream("GET", f"/responses/{response_id}?stream=true") as events:
        return EventLog([event async for event in events], resumed=True)


@pytest.mark.parametrize("loses", ["the call", "its answer"])
@pytest.mark.parametrize("fields", [{}, {"conversation": "conv_1"}], ids=["alone", "conversation"])
async def test_a_background_turn_ends_as_it_would_have(loses: Loses, fields: dict[str, Any]) -> None:
    refused, resumed = 0, 0
    for at in range(1, MOST_CALLS):
        store = Failing()
        agent = ScriptedAgent(*[["Hel", "lo."]] * 6)
        async with OnFailing(store).host("a", agent) as client:
            store.calls, store.at, store.loses = 0, at, loses
            reply = await client.post("/responses", json={"input": "hi", "background": True, "stream": True, **fields})
            if reply.status != 200:
                refused += 1
                assert (reply.status, store.has_failed) == (503, True), reply.text
                continue
            response_id = json.loads(reply.text.partition("data: ")[2].partition("\n")[0])["response"]["id"]
            response = await ended(client, response_id)
            has_failed, store.at = store.has_failed, 0
            log = await stream_of(client, response["id"])
            again = await client.post("/responses", json={"input": "more", **fields})

        resumed += len(agent.calls) > 2
        assert (response["status"], text(response)[-1]) == ("completed", "Hello."), at
        assert log.events[-1]["response"]["output"] == response["output"], at
        assert again.status == 200, (at, again.text)
        if fields:
            said = [message.text for message in agent.calls[-1].messages]
            assert said == ["hi", "Hello.", "more"], at
        if not has_failed:
            break
    else:
        raise AssertionError("The calls of the turn do not end.")
    assert refused and (resumed or loses == "its answer")


async def test_a_turn_whose_store_failed_too_often_fails_and_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "MOST_TRIES", 0)
    for at in range(1, MOST_CALLS):
        store, agent = Failing(), ScriptedAgent(["Hello."], ["Hello again."])
        async with OnFailing(store).host("a", agent) as client:
            store.calls, store.at = 0, at
            reply = await client.post("/responses", json={"input": "hi", "background": True})
            if reply.status != 200:
                continue
            response = await ended(client, reply.json()["id"])
        if response["status"] == "failed":
            assert len(agent.calls) <= 1
            return
        assert store.has_failed, "No failure of the store led to the turn's being resumed."


@pytest.mark.parametrize("loses", ["the call", "its answer"])
async def test_a_request_that_is_repeated_with_its_key_gets_one_turn_that_ends_as_it_would_have(loses: Loses) -> None:
    for at in range(1, MOST_CALLS):
        store = Failing()
        agent = ScriptedAgent(*[["Hel", "lo."]] * 6)
        async with OnFailing(store).host("a", agent) as client, asyncio.timeout(PATIENCE):
            store.calls, store.at, store.loses = 0, at, loses
            body = {"input": "hi", "background": True, "conversation": "conv_1"}
            while True:
                reply = await client.post("/responses", json=body, headers={"idempotency-key": "k1"})
                if reply.status == 200:
                    break
                assert reply.status in (409, 503), reply.text
            response = await ended(client, reply.json()["id"])
            has_failed, store.at = store.has_failed, 0
            await client.post("/responses", json={"input": "more", "conversation": "conv_1"})

        assert (response["status"], text(response)[-1]) == ("completed", "Hello."), at
        assert [message.text for message in agent.calls[-1].messages] == ["hi", "Hello.", "more"], at
        if not has_failed:
            break
    else:
        raise AssertionError("The calls of the turn do not end.")


def ask(number: int) -> Content:
    """A question whose request has another id in each run."""
    call = Content.from_function_call(f"call_{number}", "book", arguments='{"city": "Oslo"}')
    return Content.from_function_approval_request(f"call_{number}", call)


def questions(items: Sequence[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in items if item["type"] == "mcp_approval_request"]


async def check_asked_once(client: InProcessClient, response: dict[str, Any], log: EventLog) -> None:
    """Check that one question was asked, in the stream as in the response, and that it can be answered."""
    sent = [event["item"] for event in log.events if event["type"] == "response.output_item.done"]
    assert response["status"] == "completed" and len(questions(sent)) == 1
    assert questions(sent) == questions(response["output"]) == questions(log.events[-1]["response"]["output"])
    answer = {"type": "mcp_approval_response", "approval_request_id": questions(sent)[0], "approve": True}
    reply = await client.post("/responses", json={"input": [answer], "conversation": "conv_1"})
    assert reply.status == 200, reply.text


@pytest.mark.parametrize("loses", ["the call", "its answer"])
async def test_a_background_turn_asks_once(loses: Loses) -> None:
    for at in range(1, MOST_CALLS):
        store = Failing()
        agent = ScriptedAgent(*([["I ask.", ask(number)] for number in range(4)]))
        async with OnFailing(store).host("a", agent) as client:
            store.calls, store.at, store.loses = 0, at, loses
            body = {"input": "hi", "background": True, "stream": True, "conversation": "conv_1"}
            reply = await client.post("/responses", json=body)
            if reply.status != 200:
                continue
            response_id = json.loads(reply.text.partition("data: ")[2].partition("\n")[0])["response"]["id"]
            response = await ended(client, response_id)
            has_failed, store.at = store.has_failed, 0
            await check_asked_once(client, response, await stream_of(client, response_id))
        if not has_failed:
            break
    else:
        raise AssertionError("The calls of the turn do not end.")


@pytest.mark.parametrize("kind", ["recovery", "turn"])
async def test_the_turn_of_a_process_that_dies_while_it_asks_asks_once(kind: str) -> None:
    """The process dies before a record of that kind is written at the end of the turn, and just after."""
    for is_written in (False, True):
        store = Dying(kind, is_written=is_written)
        cluster = OnFailing(store)
        async with (
            cluster.host("a", ScriptedAgent(["I ask.", ask(1)])) as a,
            cluster.host("b", ScriptedAgent(["I ask.", ask(2)], ["Thanks."])) as b,
        ):
            body = {"input": "hi", "background": True, "conversation": "conv_1", "stream": True}
            async with a.stream("POST", "/responses", json=body) as events:
                response_id = (await events.until("response.created"))["response"]["id"]
                await store.reached.wait()
            cluster.dead.add("a")
            response = await ended(b, response_id)
            await check_asked_once(b, response, await stream_of(b, response_id))
            store.goes_on.set()
            await a.idle()


async def test_a_batch_of_a_process_that_has_lost_the_turn_is_part_of_its_stream_or_is_not() -> None:
    """It arrives late, between two events of the process that has the turn."""
    gate, cluster = Gate(), OnFailing(Failing())
    agent = ScriptedAgent(["Hel", gate, "lo."], ["Hel", "lo."])
    async with cluster.host("a", agent) as client:
        body = {"input": "hi", "background": True, "stream": True}
        async with client.stream("POST", "/responses", json=body) as events:
            created = await events.until("response.created")
            delta = await events.until("response.output_text.delta")
            await gate.reached()
        response_id, number = created["response"]["id"], delta["sequence_number"] + 1
        late = encode({**delta, "delta": "late", "sequence_number": number})
        await cluster.events.append(Caller(), response_id, [LoggedEvent(number, late)])
        gate.open()
        response = await ended(client, response_id)
        log = await stream_of(client, response_id)

    sent = [event["item"]["content"][0]["text"] for event in log.events if event["type"] == "response.output_item.done"]
    assert sent == [item["content"][0]["text"] for item in response["output"]] == ["Hellate", "Hello."]
    assert text(response)[-1] == "Hello." and log.events[-1]["response"]["output"] == response["output"]


@pytest.mark.parametrize("kind", ["memory", "a store", "postgres"])
async def test_a_writer_that_lost_the_log_adds_nothing_and_stops(kind: str) -> None:
    def some(first: int, last: int, data: bytes) -> list[LoggedEvent]:
        return [LoggedEvent(number, data) for number in range(first, last + 1)]

    async with AsyncExitStack() as stack:
        log: EventLogStore = LocalEventLog() if kind == "memory" else StoredEventLog(MemoryStore())
        if kind == "postgres":
            stores = postgres_stores(postgres_dsn(), schema=stack.enter_context(schema()))
            stack.push_async_callback(stores.aclose)
            assert stores.events is not None
            log = stores.events
        lost = list[str]()
        loser = EventWriter(log, ADA, "r", is_batched=False, lost=lambda: lost.append("loser"))
        await loser.add(LoggedEvent(0, b"a"))
        await extend(log, ADA, "r", some(1, 2, b"winner"))
        await extend(log, ADA, "r", some(1, 3, b"winner"))  # Again, because an answer was lost.
        await loser.add(LoggedEvent(1, b"loser"))
        with pytest.raises(StoreConflict):
            await extend(log, ADA, "r", some(2, 5, b"loser"))
        await loser.add(LoggedEvent(4, b"loser"))

        assert await log.read(ADA, "r") == [LoggedEvent(0, b"a"), *some(1, 3, b"winner")]
        assert lost == ["loser"]


@pytest.mark.parametrize("loses", ["the call", "its answer"])
async def test_a_request_that_failed_keeps_neither_its_key_nor_its_conversation(loses: Loses) -> None:
    """The client asks another process, to which the first one lives, when the store has come back."""
    failed = 0
    for at in range(1, MOST_CALLS):
        store = Away()
        cluster = OnFailing(store)
        async with (
            cluster.host("a", ScriptedAgent(["One."])) as a,
            cluster.host("b", ScriptedAgent(["Two."])) as b,
        ):
            body, key = {"input": "hi", "conversation": "conv_1"}, {"idempotency-key": "k1"}
            store.calls, store.at, store.loses = 0, at, loses
            first = await a.post("/responses", json=body, headers=key)
            if first.status != 503 or store.has_response:
                break
            failed, store.at = failed + 1, 0
            async with asyncio.timeout(PATIENCE):
                while (again := await b.post("/responses", json=body, headers=key)).status == 409:
                    pass
        assert again.status == 200, (at, again.text)
    assert failed


@pytest.mark.parametrize("loses", ["the call", "its answer"])
async def test_an_approval_whose_request_got_503_is_open_when_its_client_asks_again(loses: Loses) -> None:
    failed = 0
    for at in range(1, MOST_CALLS):
        store = Failing()
        cluster = OnFailing(store)
        async with (
            cluster.host("a", ScriptedAgent([ask(1)], ["One."])) as a,
            cluster.host("b", ScriptedAgent(["Two."])) as b,
        ):
            asked = (await a.post("/responses", json={"input": "hi", "conversation": "conv_1"})).json()
            said = {
                "type": "mcp_approval_response",
                "approval_request_id": questions(asked["output"])[0],
                "approve": True,
            }
            store.calls, store.at, store.loses = 0, at, loses
            first = await a.post("/responses", json={"input": [said], "conversation": "conv_1"})
            if first.status != 503:
                break
            failed += 1
            async with asyncio.timeout(PATIENCE):
                while (
                    again := await b.post("/responses", json={"input": [said], "conversation": "conv_1"})
                ).status == 409:
                    assert "answered before" not in again.text, at
        assert again.status == 200, (at, again.text)
    assert failed
