"""`Idempotency-Key`: one turn for one key, whichever way a client asks again."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from agent_framework import Content

from hostedagent import HeaderScopeResolver
from hostedagent.identity import Caller
from hostedagent.stores.base import LoggedEvent, StoreConflict
from hostedagent.stores.factory import memory_stores
from hostedagent.stores.local import LocalEventLog
from hostedagent.testing import Gate, ScriptedAgent
from tests.host.world import own_routes

KEY = {"idempotency-key": "k1"}
HI = {"input": "hi"}


@pytest.mark.parametrize("body", [HI, {**HI, "background": True}, {**HI, "conversation": "chat"}])
async def test_a_request_that_is_sent_again_gets_its_response(stores: Any, body: Any) -> None:
    agent = ScriptedAgent(["Hello."], ["Another."])
    async with own_routes(agent, stores=stores) as client:
        first = (await client.post("/responses", json=body, headers=KEY)).json()
        status = first["status"]
        while status == "in_progress":
            await asyncio.sleep(0)
            status = (await client.get(f"/responses/{first['id']}")).json()["status"]
        again = (await client.post("/responses", json=body, headers=KEY)).json()
        other = (await client.post("/responses", json=body, headers={"idempotency-key": "k2"})).json()

    assert again["id"] == first["id"] != other["id"] and again["status"] == "completed"
    assert again["output"][0]["content"][0]["text"] == "Hello." and len(agent.calls) == 2


async def test_a_stream_that_is_asked_for_again_is_the_same(stores: Any) -> None:
    agent = ScriptedAgent(["Hel", "lo."])
    async with own_routes(agent, stores=stores) as client:
        streams = [(await client.post("/responses", json={**HI, "stream": True}, headers=KEY)).body for _ in range(2)]

    assert streams[0] == streams[1] and b"response.completed" in streams[0] and len(agent.calls) == 1


class Lost(LocalEventLog):
    """A log that was not available while the turn ran."""

    async def extend(self, caller: Caller, response_id: str, events: Sequence[LoggedEvent]) -> None:
        raise StoreConflict("not this time")


async def test_a_stream_whose_events_are_lost_is_sent_from_its_response() -> None:
    call = Content.from_function_call("c1", "look_up", arguments="{}")
    agent = ScriptedAgent([Content.from_text_reasoning(text="Hm."), call])
    stores = replace(memory_stores(), events=Lost())
    async with own_routes(agent, stores=stores) as client:
        reply = await client.post("/responses", json={**HI, "stream": True}, headers=KEY)
        while reply.status == 409:
            await asyncio.sleep(0)
            reply = await client.post("/responses", json={**HI, "stream": True}, headers=KEY)
        log = reply.log()
        response = (await client.get(f"/responses/{log.response['id']}")).json()

    assert [event["type"] for event in log.events] == [
        "response.created",
        *("response.output_item.added", "response.output_item.done") * 2,
        "response.completed",
    ]
    created = log.events[0]["response"]
    assert (created["status"], created["output"]) == ("in_progress", []) and created["id"] == response["id"]
    assert log.response == response and len(agent.calls) == 1


@pytest.mark.parametrize("streams", [False, True])
async def test_a_request_attaches_to_the_turn_that_runs(streams: bool) -> None:
    gate = Gate()
    agent = ScriptedAgent(["Hel", gate, "lo."])
    body = {**HI, "stream": streams}
    async with own_routes(agent) as client:
        first = asyncio.create_task(client.post("/responses", json=body, headers=KEY))
        await gate.reached()
        second = asyncio.create_task(client.post("/responses", json=body, headers=KEY))
        await asyncio.sleep(0)
        gate.open()
        replies = [await first, await second]

    assert replies[0].body == replies[1].body and b"Hello." in replies[0].body and len(agent.calls) == 1


async def test_a_turn_goes_on_for_a_client_that_asks_again() -> None:
    gate = Gate()
    agent = ScriptedAgent(["Hel", gate, "lo."])
    async with own_routes(agent) as client:
        async with client.stream("POST", "/responses", json={**HI, "stream": True}, headers=KEY) as events:
            await events.until("response.created")
            await gate.reached()
        gate.open()
        log = (await client.post("/responses", json={**HI, "stream": True}, headers=KEY)).log()

    assert (log.text, log.status) == ("Hello.", "completed") and len(agent.calls) == 1


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("background", [False, True])
async def test_the_key_of_a_deleted_response_says_so(background: bool, streams: bool) -> None:
    body = {**HI, "background": background, "stream": streams}
    agent = ScriptedAgent(["Hello."])
    async with own_routes(agent) as client:
        first = await client.post("/responses", json=body, headers=KEY)
        response_id = first.log().response["id"] if streams else first.json()["id"]
        status = 400
        while status == 400:  # It still runs.
            await asyncio.sleep(0)
            status = (await client.request("DELETE", f"/responses/{response_id}")).status
        again = await client.post("/responses", json=body, headers=KEY)

    assert again.status == 404 and "was deleted" in again.json()["error"]["message"]
    assert len(agent.calls) == 1


async def test_another_body_under_a_key_is_refused() -> None:
    async with own_routes(ScriptedAgent(["Hello."])) as client:
        await client.post("/responses", json=HI, headers=KEY)
        reply = await client.post("/responses", json={"input": "bye"}, headers=KEY)

    assert (reply.status, reply.json()["error"]["code"]) == (422, "idempotency_key_reused")


@pytest.mark.not_on_foundry("the service answers only on behalf of the platform's users")
async def test_a_key_is_its_callers_own() -> None:
    agent = ScriptedAgent(["one"], ["two"])
    async with own_routes(agent, resolve_scope=HeaderScopeResolver(header="x-user")) as client:
        replies = [
            (await client.post("/responses", json={"input": user}, headers={**KEY, "x-user": user})).json()
            for user in ("ann", "bob")
        ]

    assert [reply["output"][0]["content"][0]["text"] for reply in replies] == ["one", "two"]


async def test_a_refused_request_uses_up_no_key() -> None:
    async with own_routes(ScriptedAgent(["Hello."])) as client:
        missing = {**HI, "previous_response_id": "caresp_" + "0" * 50}
        refused = await client.post("/responses", json=missing, headers=KEY)
        reply = await client.post("/responses", json=HI, headers=KEY)

    assert (refused.status, reply.status) == (404, 200)


@pytest.mark.parametrize(("key", "body"), [("", HI), ("k" * 257, HI), ("k", {**HI, "store": False})])
async def test_a_key_that_cannot_be_kept_is_refused(key: str, body: Any) -> None:
    async with own_routes(ScriptedAgent(["Hello."])) as client:
        reply = await client.post("/responses", json=body, headers={"idempotency-key": key})

    assert reply.status == 400
