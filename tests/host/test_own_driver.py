"""The own routes of the Responses protocol: what a client sees without the SDK between it and the turn."""

import json
import re
from collections.abc import Sequence

import pytest

from hostedagent import Stores
from hostedagent.identity import Caller
from hostedagent.stores.base import Etag, Write
from hostedagent.stores.local import LocalEventLog, LocalSignals
from hostedagent.stores.memory import MemoryStore
from hostedagent.testing import Gate, ScriptedAgent
from tests.host.world import own_routes


async def test_a_whole_answer_is_complete_and_can_be_read_again() -> None:
    async with own_routes(ScriptedAgent(["Hello."])) as client:
        reply = await client.post("/responses", json={"input": "hi", "metadata": {"a": "b"}})
        response = reply.json()
        again = (await client.get(f"/responses/{response['id']}")).json()

    assert (response["status"], response["output"][0]["content"][0]["text"]) == ("completed", "Hello.")
    assert response["metadata"] == {"a": "b"} and response["truncation"] == "disabled"
    assert again == response
    assert reply.headers["x-agent-session-id"] == response["agent_session_id"]
    assert re.fullmatch("[0-9a-f]{63}", response["agent_session_id"]), "as the SDK's host names them"


async def test_a_stream_has_numbered_events_and_one_end() -> None:
    async with own_routes(ScriptedAgent(["Hel", "lo."])) as client:
        log = (await client.post("/responses", json={"input": "hi", "stream": True})).log()

    assert log.text == "Hello."
    assert log.status == "completed"


async def test_a_turn_continues_the_one_before_it() -> None:
    agent = ScriptedAgent(["one"], ["two"])
    async with own_routes(agent) as client:
        first = (await client.post("/responses", json={"input": "a"})).json()
        await client.post("/responses", json={"input": "b", "previous_response_id": first["id"]})
        items = (await client.get(f"/responses/{first['id']}/input_items")).json()
        missing = await client.post("/responses", json={"input": "c", "previous_response_id": first["id"][:-1] + "x"})

    assert [message.text for message in agent.calls[1].messages] == ["a", "one", "b"]
    assert [item["content"][0]["text"] for item in items["data"]] == ["a"]
    assert missing.status == 404


async def test_a_background_turn_that_has_ended_is_not_cancelled() -> None:
    async with own_routes(ScriptedAgent(["Hello."])) as client:
        started = (await client.post("/responses", json={"input": "hi", "background": True})).json()
        while (await client.get(f"/responses/{started['id']}")).json()["status"] != "completed":
            pass
        refused = await client.post(f"/responses/{started['id']}/cancel")
        after = (await client.get(f"/responses/{started['id']}")).json()

    assert (refused.status, refused.json()["error"]["message"]) == (400, "Cannot cancel a completed response.")
    assert after["status"] == "completed"


@pytest.mark.one_replica("what a turn has said so far is told by its process, until the turn is stored")
async def test_a_background_turn_is_asked_for_and_cancelled() -> None:
    gate = Gate()
    async with own_routes(ScriptedAgent(["Hel", gate, "lo."])) as client:
        started = (await client.post("/responses", json={"input": "hi", "background": True})).json()
        await gate.reached()
        running = (await client.get(f"/responses/{started['id']}")).json()
        cancelled = (await client.post(f"/responses/{started['id']}/cancel")).json()
        after = (await client.get(f"/responses/{started['id']}")).json()

    assert started["status"] == "in_progress"
    assert running["output"][0]["content"][0]["text"] == "Hel"
    assert (cancelled["status"], cancelled["output"]) == ("cancelled", []) and after == cancelled


async def test_a_background_stream_is_replayed_after_an_event() -> None:
    async with own_routes(ScriptedAgent(["Hel", "lo."])) as client:
        whole = (await client.post("/responses", json={"input": "hi", "background": True, "stream": True})).body
        frames = whole.split(b"\n\n")
        response_id = json.loads(frames[0].partition(b"data: ")[2])["response"]["id"]
        rest = (await client.get(f"/responses/{response_id}?stream=true&starting_after=2")).body

    assert rest == b"\n\n".join(frames[3:])


async def test_a_deleted_response_is_gone() -> None:
    async with own_routes(ScriptedAgent(["Hello."])) as client:
        response = (await client.post("/responses", json={"input": "hi"})).json()
        deleted = (await client.delete(f"/responses/{response['id']}")).json()
        again = await client.get(f"/responses/{response['id']}")

    assert deleted == {"id": response["id"], "object": "response", "deleted": True}
    assert again.status == 404


async def test_a_client_that_leaves_stops_its_turn() -> None:
    gate = Gate()
    agent = ScriptedAgent(["Hel", gate, "lo."], ["next"])
    async with own_routes(agent) as client:
        async with client.stream("POST", "/responses", json={"input": "hi", "stream": True}) as events:
            created = await events.until("response.created")
            await gate.reached()
        await client.idle()
        left = (await client.get(f"/responses/{created['response']['id']}")).json()

    assert (left["status"], left["output"]) == ("cancelled", [])


@pytest.mark.parametrize("body", [b"{", b'{"input": ""}', b'{"input": "hi", "background": true, "store": false}'])
async def test_a_bad_request_is_refused_with_a_status(body: bytes) -> None:
    async with own_routes(ScriptedAgent(["Hello."])) as client:
        reply = await client.post("/responses", content=body)

    assert reply.status == 400 and reply.json()["error"]["message"]


async def test_every_answer_names_the_session_of_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOUNDRY_AGENT_SESSION_ID", "sandbox-1")
    async with own_routes(ScriptedAgent(["Hello."])) as client:
        made = await client.post("/responses", json={"input": "hi"})
        path = f"/responses/{made.json()['id']}"
        replies = [
            made,
            await client.get(path),
            await client.get(f"{path}/input_items"),
            await client.post(f"{path}/cancel"),
            await client.delete(path),
            await client.get(path),
        ]

    assert [reply.status for reply in replies] == [200, 200, 200, 400, 200, 404]
    assert {reply.headers["x-agent-session-id"] for reply in replies} == {"sandbox-1"}


class LateStore(MemoryStore):
    """Holds back that a turn's end is stored, after it was stored."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gates = [gate]

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        etags = await super().write(caller, writes)
        if self.gates and any(b'"completed"' in (write.value or b"") for write in writes):
            await self.gates.pop().wait()
        return etags


async def test_who_reads_that_a_background_turn_is_completed_can_continue_it_at_once() -> None:
    gate = Gate()
    agent = ScriptedAgent(["One."], ["Two."])
    stores = Stores.over(LateStore(gate), signals=LocalSignals(is_exclusive=True), events=LocalEventLog())
    async with own_routes(agent, stores=stores) as client:
        begun = (await client.post("/responses", json={"input": "a", "background": True})).json()
        await gate.reached()
        read = (await client.get(f"/responses/{begun['id']}")).json()
        reply = await client.post("/responses", json={"input": "b", "previous_response_id": read["id"]})
        gate.open()

    assert read["status"] == "completed"
    assert reply.status == 200, reply.text
    assert [message.text for message in agent.calls[1].messages] == ["a", "One.", "b"]
