"""Turns in the background: looked at, followed, read again, stopped and deleted, by whoever has their id."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agent_framework import Agent, Content, tool

from hostedagent import AgentHost
from hostedagent.stores.factory import Stores
from hostedagent.testing import EventLog, Gate, InProcessClient, OfflineChatClient, serve
from tests.stores import opened

CALL = Content.from_function_call("c1", "look_up", arguments='{"city": "Oslo"}')


@tool
def look_up(city: str) -> str:
    """Look up the weather."""
    return f"sunny in {city}"


@asynccontextmanager
async def talking(gate: Gate, *, stores: Stores | None = None) -> AsyncGenerator[InProcessClient]:
    """A host whose agent calls a tool, says half of its answer, and waits."""
    model = OfflineChatClient(script=[CALL, ["It is ", gate, "sunny."], "And now?"])
    async with opened() as (own, identified):
        app = AgentHost(Agent(model, tools=[look_up]), stores=stores or own).app
        async with serve(identified(app)) as client:
            yield client


async def begun(client: InProcessClient, gate: Gate, **fields: Any) -> str:
    """Start a turn and wait until it is in the middle of its answer; returns the id."""
    body = {"input": "Oslo?", "background": True, **fields}
    if not fields.get("stream"):
        response = (await client.post("/responses", json=body)).json()
        assert response["status"] == "in_progress"
    else:
        async with client.stream("POST", "/responses", json=body) as events:
            response = (await anext(events))["response"]
    await gate.reached()
    return response["id"]


async def ended(client: InProcessClient, response_id: str) -> dict[str, Any]:
    while (response := (await client.get(f"/responses/{response_id}")).json())["status"] == "in_progress":
        pass
    return response


@pytest.mark.parametrize("streams", [False, True])
async def test_what_was_done_and_said_is_seen_while_the_turn_goes_on(streams: bool) -> None:
    gate = Gate()
    async with talking(gate) as client:
        response_id = await begun(client, gate, stream=streams)
        said, during = "", dict[str, Any]()
        while said != "It is ":
            during = (await client.get(f"/responses/{response_id}")).json()
            assert during["status"] == "in_progress"
            said = "".join(part["text"] for item in during["output"][1:] for part in item["content"])
        gate.open()
        after = await ended(client, response_id)

    call, message = during["output"]
    assert (call["type"], call["status"], message["type"]) == ("mcp_call", "completed", "message")
    assert (message["status"], after["status"]) == ("in_progress", "completed")
    assert after["output"][0] == call
    assert after["output"][1] == {**message, "status": "completed", "content": after["output"][1]["content"]}


async def test_events_can_be_followed_from_any_of_them_on_while_the_turn_goes_on() -> None:
    gate = Gate()
    async with talking(gate) as client:
        response_id = await begun(client, gate, stream=True)
        url = f"/responses/{response_id}?stream=true"
        async with client.stream("GET", url) as all_events, client.stream("GET", f"{url}&starting_after=3") as events:
            fourth = await anext(events)
            gate.open()
            whole, rest = await all_events.log(), [fourth, *[event async for event in events]]

    assert whole.status == "completed"
    assert [event["sequence_number"] for event in whole.events] == list(range(len(whole)))
    assert rest == whole.events[4:]


async def test_events_can_be_read_again_after_the_end_from_any_of_them_on() -> None:
    gate = Gate()
    gate.open()
    async with talking(gate) as client:
        body = {"input": "Oslo?", "background": True, "stream": True}
        whole = (await client.post("/responses", json=body)).log()
        url = f"/responses/{whole.response['id']}?stream=true"
        for last in range(len(whole)):
            again = (await client.get(f"{url}&starting_after={last}")).body
            assert EventLog.from_sse(again, check=False).events == whole.events[last + 1 :]
        assert (await client.get(url)).log().events == whole.events


@pytest.mark.parametrize("fields", [{"background": True}, {"stream": True}, {}], ids=["background", "stream", "sync"])
async def test_only_streams_in_the_background_are_read_again(fields: dict[str, Any]) -> None:
    gate = Gate()
    gate.open()
    async with talking(gate) as client:
        reply = await client.post("/responses", json={"input": "Oslo?", **fields})
        response_id = reply.log().response["id"] if fields.get("stream") else reply.json()["id"]
        await ended(client, response_id)
        refused = await client.get(f"/responses/{response_id}?stream=true")

    assert refused.status == 400, refused.text
    assert refused.json()["error"]["param"] == "stream"


@pytest.mark.parametrize("streams", [False, True])
async def test_a_turn_is_cancelled_once_and_stays_so(streams: bool) -> None:
    gate = Gate()
    async with talking(gate) as client:
        response_id = await begun(client, gate, stream=streams)
        replies = [await client.post(f"/responses/{response_id}/cancel") for _ in range(2)]
        seen = await client.get(f"/responses/{response_id}")

    assert [reply.status for reply in (*replies, seen)] == [200, 200, 200]
    assert {reply.json()["status"] for reply in (*replies, seen)} == {"cancelled"}


async def test_a_follower_of_a_cancelled_turn_is_told() -> None:
    gate = Gate()
    async with talking(gate) as client:
        response_id = await begun(client, gate, stream=True)
        async with client.stream("GET", f"/responses/{response_id}?stream=true") as events:
            await events.until("response.output_text.delta")
            await client.post(f"/responses/{response_id}/cancel")
            log = await events.log()

    assert log.types[-1] == "response.failed"
    assert log.status == "cancelled"


@pytest.mark.parametrize("streams", [False, True])
async def test_a_turn_is_deleted_when_it_has_ended_and_not_before(streams: bool) -> None:
    gate = Gate()
    async with talking(gate) as client:
        response_id = await begun(client, gate, stream=streams)
        refused = await client.delete(f"/responses/{response_id}")
        gate.open()
        assert (await ended(client, response_id))["status"] == "completed"
        deleted = await client.delete(f"/responses/{response_id}")
        urls = [f"/responses/{response_id}", f"/responses/{response_id}?stream=true"]
        gone = [(await client.get(url)).status for url in urls]

    assert refused.status == 400, refused.text
    assert (deleted.status, deleted.json()["deleted"]) == (200, True)
    assert gone == [404, 404]


@pytest.mark.parametrize("place", [{}, {"conversation": "conv_1"}], ids=["chain", "conversation"])
async def test_a_turn_of_another_process_is_seen_as_running_until_that_process_has_ended_it(
    place: dict[str, Any],
) -> None:
    gate = Gate()
    async with (
        opened() as (stores, _),
        talking(gate, stores=stores) as one,
        talking(Gate(), stores=stores) as other,
    ):
        response_id = await begun(one, gate, **place)
        during = (await other.get(f"/responses/{response_id}")).json()
        gate.open()
        await ended(one, response_id)
        after = (await other.get(f"/responses/{response_id}")).json()

    assert (during["status"], after["status"]) == ("in_progress", "completed")


async def test_many_followers_see_the_same() -> None:
    gate = Gate()
    async with talking(gate) as client:
        response_id = await begun(client, gate, stream=True)
        url = f"/responses/{response_id}?stream=true"
        following = [asyncio.create_task(client.get(url)) for _ in range(5)]
        gate.open()
        logs = [(await follower).log() for follower in following]

    assert all(log.events == logs[0].events for log in logs)
    assert logs[0].status == "completed"
