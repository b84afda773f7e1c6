"""`POST /responses/{id}/steer`: new input for a response that HTTP began, taken over by the response after it."""

from typing import Any

import pytest

from hostedagent import AgentHost, HeaderScopeResolver, HostOptions
from hostedagent.testing import Gate, InProcessClient, ScriptedAgent, serve
from tests.host.steered import CALL, RESULT, until_steered
from tests.host.world import assert_refusal

OPTIONS = HostOptions(own_tools="function_call")


def serving(agent: Any, **given: Any) -> Any:
    return serve(AgentHost(agent, driver="starlette", options=OPTIONS, **given).app)


async def begun(client: InProcessClient, gate: Gate | None, **fields: Any) -> str:
    made = (await client.post("/responses", json={"input": "Weather?", "background": True, **fields})).json()
    if gate is not None:
        await gate.reached()
    return made["id"]


async def ended(client: InProcessClient, response_id: str) -> dict[str, Any]:
    while True:
        reply = await client.get(f"/responses/{response_id}")
        if reply.status == 200 and reply.json()["status"] not in ("queued", "in_progress"):
            return reply.json()


async def test_a_steered_response_ends_behind_its_step_and_the_successor_takes_the_input_over() -> None:
    agent = ScriptedAgent(["Looking.", CALL, until_steered, RESULT, "never"], ["Then not."])
    async with serving(agent) as client:
        first = await begun(client, None, temperature=0.5)
        accepted = (await client.post(f"/responses/{first}/steer", json={"input": "Never mind."})).json()
        before, after = await ended(client, first), await ended(client, accepted["successor"]["id"])
        events = (await client.get(f"/responses/{after['id']}?stream=true")).log()

    assert accepted["type"] == "response.steer.accepted" and accepted["steer"]["previous_response_id"] == first
    assert (before["status"], before["incomplete_details"]) == ("incomplete", {"reason": "steered"})
    assert (after["status"], after["previous_response_id"], after["temperature"]) == ("completed", first, 0.5)
    assert events.response["output"] == after["output"] and agent.calls[1].text == "Never mind."


async def test_a_stream_tells_what_became_of_the_input_and_inputs_keep_their_order() -> None:
    gate = Gate()
    agent = ScriptedAgent(["one", gate], ["two"])
    async with serving(agent) as client:
        first = await begun(client, gate)
        path = f"/responses/{first}/steer"
        async with client.stream("POST", path, json={"input": "b", "stream": True}) as told:
            events = [await told.until("response.steer.accepted")]
            second = (await client.post(path, json={"input": [{"role": "user", "content": "c"}]})).json()
            gate.open()
            events += [event async for event in told]

    assert [event["type"] for event in events[:2]] == ["response.steer.accepted", "response.created"]
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["id"] == second["successor"]["id"]
    assert [message.text for message in agent.calls[1].messages] == ["Weather?", "one", "b", "c"]


async def test_an_input_waits_for_what_the_client_owes() -> None:
    gate = Gate()
    agent = ScriptedAgent([gate, CALL], ["done"])
    tools: list[Any] = [{"type": "function", "name": CALL.name, "parameters": {"type": "object", "properties": {}}}]
    async with serving(agent) as client:
        first = await begun(client, gate, tools=tools)
        steer = {"input": "b", "stream": True}
        async with client.stream("POST", f"/responses/{first}/steer", json=steer) as told:
            events = [await told.until("response.steer.accepted")]
            gate.open()
            events += [event async for event in told]
        output = {"type": "function_call_output", "call_id": "c1", "output": "yes"}
        body: Any = {"input": [output], "previous_response_id": first, "tools": tools}
        again = (await client.post("/responses", json=body)).json()

    assert [event["type"] for event in events] == ["response.steer.accepted", "response.steer.pending"]
    assert events[1]["required_input"][0]["call_id"] == "c1"
    assert again["status"] == "completed"
    assert "b" in [message.text for message in agent.calls[1].messages]


async def test_what_cannot_be_steered_is_refused() -> None:
    gate = Gate()
    agent = ScriptedAgent([gate, "one"], ["two"])
    async with serving(agent, resolve_scope=HeaderScopeResolver(header="x-user")) as client:

        async def post(user: str, path: str, body: Any) -> Any:
            return await client.post(path, json=body, headers={"x-user": user})

        first = (await post("ann", "/responses", {"input": "hi", "background": True})).json()["id"]
        await gate.reached()
        path = f"/responses/{first}/steer"
        bad: list[Any] = [{}, {"input": ""}, {"input": []}, {"input": "x", "more": 1}, {"input": "x", "stream": 1}]
        bad += [{"input": [{"role": "system", "content": "x"}]}, {"input": "x", "previous_response_id": "other"}]
        for body in bad:
            assert_refusal(await post("ann", path, body), 400)
        assert_refusal(await post("bob", path, {"input": "x"}), 404)
        assert_refusal(await post("ann", path.replace(first, f"{first[:-1]}_"), {"input": "x"}), 404)
        for _ in range(8):
            assert (await post("ann", path, {"input": "x"})).status == 200
        assert assert_refusal(await post("ann", path, {"input": "x"}), 429)["code"] == "too_many_pending_steers"
        gate.open()
        while assert_refusal(await post("ann", path, {"input": "x"}))["code"] != "response_already_completed":
            pass


@pytest.mark.parametrize("fields", [{"conversation": "c"}, {"context_management": [{"type": "compaction"}]}])
async def test_conversations_and_compacted_chains_are_not_steered(fields: Any) -> None:
    gate = Gate()
    async with serving(ScriptedAgent([gate, "one"])) as client:
        first = await begun(client, gate, **fields)
        error = assert_refusal(await client.post(f"/responses/{first}/steer", json={"input": "x"}), 400)
        gate.open()

    assert error["code"] == "steering_not_supported"
