"""How streams end whose process died, or whose turn was taken over: once, and for every reader."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Literal

import pytest

from hostedagent.engine import following, takeover, waiting
from hostedagent.identity import Caller
from hostedagent.options import CallerPolicy
from hostedagent.stores.base import Etag, Key, LoggedEvent, StoreUnavailable, Write
from hostedagent.stores.local import LocalEventLog
from hostedagent.stores.responses import StoredResponses
from hostedagent.stores.turn_queue import StoredTurnQueue
from hostedagent.testing import EventLog, Gate, InProcessClient, ScriptedAgent
from tests.patience import PATIENCE
from tests.replicas.test_store_away import Failing, OnFailing
from tests.replicas.test_two_hosts import begin, ended, text

STREAM = {"input": "hi", "stream": True}
KEY = {"idempotency-key": "k1"}
TERMINAL = ("response.completed", "response.failed", "response.incomplete")
Step = Literal["the terminal event", "the end of the log"]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "WATCH_SECONDS", 0.001)
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.001)


class Dying(LocalEventLog):
    """A log whose writer dies before a step."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self._step = step
        self.reached, self.goes_on = asyncio.Event(), asyncio.Event()

    async def _before(self, step: Step) -> None:
        if step == self._step and not self.reached.is_set():
            self.reached.set()
            await self.goes_on.wait()

    async def extend(self, caller: Caller, response_id: str, events: Sequence[LoggedEvent]) -> None:
        if any(b'"response.completed"' in event.data for event in events):
            await self._before("the terminal event")
        await super().extend(caller, response_id, events)

    async def finish(self, caller: Caller, response_id: str) -> None:
        await self._before("the end of the log")
        await super().finish(caller, response_id)


async def stream_of(client: InProcessClient, method: Literal["GET", "POST"], path: str, **more: Any) -> EventLog:
    """Its events, from the first to the end."""
    async with asyncio.timeout(PATIENCE), client.stream(method, path, **more) as events:
        return EventLog([event async for event in events], resumed=True)


@pytest.mark.parametrize("step", ["the terminal event", "the end of the log"])
async def test_a_kept_stream_whose_process_died_after_its_turn_was_stored_ends_for_its_readers(step: Step) -> None:
    cluster = OnFailing(Failing())
    cluster.events = log = Dying(step)
    async with (
        cluster.host("a", ScriptedAgent(["Hel", "lo."])) as a,
        cluster.host("b", ScriptedAgent(["never"])) as b,
    ):
        first = asyncio.create_task(a.post("/responses", json=STREAM, headers=KEY))
        async with asyncio.timeout(PATIENCE):
            await log.reached.wait()
        cluster.dead.add("a")
        try:
            again = await stream_of(b, "POST", "/responses", json=STREAM, headers=KEY)
            response_id = again.events[0]["response"]["id"]
            async with b.stream("GET", f"/responses/{response_id}?stream=true&starting_after=2") as events:
                later = [event async for event in events]
            stored = (await b.get(f"/responses/{response_id}")).json()
        finally:
            log.goes_on.set()  # The process was only cut off.
            await first

    assert [event["sequence_number"] for event in again.events] == list(range(len(again.events)))
    assert [event["type"] for event in again.events if event["type"] in TERMINAL] == ["response.completed"]
    assert again.events[-1]["response"]["output"] == stored["output"] and text(stored) == ["Hello."]
    assert later == again.events[3:]


class FailingOnce(Failing):
    """A store that fails once when a process has taken so many turns."""

    def __init__(self, process: str, taken: int) -> None:
        super().__init__()
        self._owner = f'"owner":"{process}:'.encode()
        self._left = taken
        self.is_cleared = asyncio.Event()

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        if any(write.key.kind == "recovery" and self._owner in (write.value or b"") for write in writes):
            self._left -= 1
            if self._left == 0:
                raise StoreUnavailable("It fails.")
        return await super().write(caller, writes)

    async def delete(self, caller: Caller, keys: Sequence[Key], *, expect: Etag | None = None) -> None:
        await super().delete(caller, keys, expect=expect)
        if any(key.kind == "turns" for key in keys):
            self.is_cleared.set()


async def test_a_turn_that_was_taken_over_is_not_resumed_again_while_it_runs() -> None:
    """The store fails when the second turn of a dead process is taken, so that its turns are looked for again."""
    store, gates, gate = FailingOnce("b", taken=2), [Gate(), Gate()], Gate()
    cluster, agent = OnFailing(store), ScriptedAgent(*[["Hel", gate, "lo."]] * 4)
    async with (
        cluster.host("a", ScriptedAgent(*(["Hel", one, "never"] for one in gates))) as a,
        cluster.host("b", agent) as b,
    ):
        ids = [await begin(a, one) for one in gates]
        cluster.dead.add("a")
        async with asyncio.timeout(PATIENCE):
            await store.is_cleared.wait()
        gate.open()
        whole = [await ended(b, response_id) for response_id in ids]
        logs = [await stream_of(b, "GET", f"/responses/{response_id}?stream=true") for response_id in ids]

    assert len(agent.calls) == 2
    assert [text(response)[-1] for response in whole] == ["Hello."] * 2
    for log in logs:
        assert [event["type"] for event in log.events if event["type"] in TERMINAL] == ["response.completed"]


class Late(Failing):
    """A store whose first write of a response is made late."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.goes_on, self.is_released = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        if not self.reached.is_set() and any(write.key.kind == "response" for write in writes):
            self.reached.set()
            await self.goes_on.wait()
        etags = await super().write(caller, writes)
        if self.reached.is_set() and any(write.key.kind == "recovery" and write.value is None for write in writes):
            self.is_released.set()
        return etags


async def test_a_turn_that_is_queued_after_another_process_has_dropped_it_is_refused_and_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.001)
    store, gate = Late(), Gate()
    store.reached.set()  # The first turn is not late.
    cluster, limits = OnFailing(store), {"max_turns": 1, "max_queued": 10}
    body = {"input": "hi", "background": True}
    async with cluster.host("a", ScriptedAgent(["x", gate]), **limits) as a:
        await begin(a, gate)
        async with cluster.host("b", ScriptedAgent(*[["Hello."]] * 2), **limits) as b:  # It takes over the first turn.
            store.reached.clear()
            first = asyncio.create_task(a.post("/responses", json=body, headers=KEY))
            async with asyncio.timeout(PATIENCE):
                await store.reached.wait()
                queue = StoredTurnQueue(store, time.time)
                cluster.dead.add("a")
                while (await queue.state()).takers:
                    await b.get("/readiness")
                store.goes_on.set()
                refused = await first
                while (again := await b.post("/responses", json=body, headers=KEY)).status == 409:
                    pass
            response = await ended(b, again.json()["id"])
            gate.open()

    assert refused.status == 503, refused.text
    assert (response["status"], text(response)) == ("completed", ["Hello."])


async def test_a_response_that_is_stored_after_its_turn_was_released_is_withdrawn_and_its_request_repeated() -> None:
    store, body = Late(), {"input": "hi", "background": True, "conversation": "conv_1"}
    cluster, agent = OnFailing(store), ScriptedAgent(["Hello."])
    async with (
        cluster.host("a", ScriptedAgent()) as a,
        cluster.host("b", agent) as b,
    ):
        first = asyncio.create_task(a.post("/responses", json=body, headers=KEY))
        async with asyncio.timeout(PATIENCE):
            await store.reached.wait()
            cluster.dead.add("a")
            await store.is_released.wait()
            store.goes_on.set()
            refused = await first
            while (again := await b.post("/responses", json=body, headers=KEY)).status == 409:
                pass
        response = await ended(b, again.json()["id"])

    assert refused.status == 503, refused.text
    assert (response["status"], text(response), len(agent.calls)) == ("completed", ["Hello."], 1)


async def test_a_turn_whose_response_another_process_has_ended_ends_its_stream_in_that_way() -> None:
    store, gate = Failing(), Gate()
    cluster, agent = OnFailing(store), ScriptedAgent(["x", gate, "y"], ["Again."])
    async with cluster.host("a", agent) as a, asyncio.timeout(PATIENCE):
        response_id = await begin(a, gate)
        repository = StoredResponses(store)
        response = await repository.get(Caller(), response_id)
        await repository.update(Caller(), {**response, "status": "cancelled"}, is_own=False)
        reading = asyncio.create_task(stream_of(a, "GET", f"/responses/{response_id}?stream=true"))
        gate.open()
        log = await reading
        whole = await ended(a, response_id)
        after = (await a.post("/responses", json={"input": "more"})).json()

    assert log.events[-1]["response"]["status"] == whole["status"] == "cancelled"
    assert [event["type"] in TERMINAL for event in log.events].count(True) == 1
    assert text(after) == ["Again."]


async def test_a_turn_that_has_no_response_and_cannot_be_read_is_given_up() -> None:
    store = Late()
    tool: dict[str, Any] = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
    body, cluster = {"input": "hi", "background": True, "tools": [tool]}, OnFailing(store)
    refuses = CallerPolicy(allow_function_tools=False)
    async with (
        cluster.host("a", ScriptedAgent()) as a,
        cluster.host("b", ScriptedAgent(), caller=refuses),
        asyncio.timeout(PATIENCE),
    ):
        first = asyncio.create_task(a.post("/responses", json=body))
        await store.reached.wait()
        cluster.dead.add("a")
        await store.is_released.wait()
        store.goes_on.set()
        refused = await first

    assert refused.status == 503, refused.text
