"""The response object on the wire: complete in every answer and in every snapshot, and as the specification says."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from agent_framework import AgentResponseUpdate, Content

from hostedagent import CallerPolicy, HostOptions
from hostedagent.options import OwnTools
from hostedagent.testing import Gate, InProcessClient, ScriptedAgent
from tests.host.specification import REQUIRED, Specification, assert_complete
from tests.host.world import hosting

Check = Callable[[Mapping[str, Any]], None]

USAGE = Content.from_usage({"input_token_count": 7, "output_token_count": 3, "total_token_count": 10})
RICH: list[Any] = [
    Content.from_text_reasoning(text="Let me see."),
    "I shall look. ",
    Content.from_function_call("c1", "look_up", arguments='{"city":"Paris"}'),
    Content.from_function_result("c1", result="sunny"),
    Content.from_mcp_server_tool_call("m1", "search", server_name="docs", arguments="{}"),
    Content.from_mcp_server_tool_result("m1", output=[Content.from_text("found")]),
    "Sunny.",
    USAGE,
]
ENDINGS: dict[str, list[Any]] = {
    "completed": RICH,
    "incomplete": ["Sun", AgentResponseUpdate(contents=[], finish_reason="length")],
    "failed": ["Sun", RuntimeError("no")],
}
REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "not stored": {"store": False},
    "with every option": {
        "model": "m",
        "temperature": 0.5,
        "top_p": 0.9,
        "presence_penalty": 0.1,
        "frequency_penalty": -0.1,
        "max_output_tokens": 100,
        "max_tool_calls": 3,
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low"},
        "truncation": "auto",
        "top_logprobs": 2,
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "service_tier": "flex",
        "metadata": {"a": "b"},
        "instructions": "Be brief.",
        "tools": [{"type": "function", "name": "f"}],
        "tool_choice": {"type": "function", "name": "f"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}, "verbosity": "low"},
        "conversation": "conv_1",
    },
    "with nulls": dict.fromkeys(("temperature", "tools", "text", "reasoning", "metadata", "tool_choice")),
    "with allowed tools": {
        "tools": [{"type": "function", "name": "f", "description": "d", "strict": True, "parameters": None}],
        "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
    },
}
OPTIONS = HostOptions(caller=CallerPolicy(instructions="append"))


async def answers(client: InProcessClient, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The same turn as JSON and read again, where it is stored."""
    reply = await client.post("/responses", json=body)
    assert reply.status == 200, reply.text
    found = [reply.json()]
    if body.get("store", True):
        found.append((await client.get(f"/responses/{found[0]['id']}")).json())
    return found


async def events(client: InProcessClient, body: dict[str, Any]) -> Sequence[Mapping[str, Any]]:
    return (await client.post("/responses", json={**body, "stream": True})).log().events


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("request_fields", REQUESTS.values(), ids=REQUESTS)
async def test_every_answer_is_complete(ending: str, request_fields: dict[str, Any]) -> None:
    body = {"input": "hi", **request_fields}

    async with hosting(ScriptedAgent(ENDINGS[ending], ENDINGS[ending]), options=OPTIONS) as client:
        responses = await answers(client, body)
        snapshots = [event["response"] for event in await events(client, body) if "response" in event]

    assert {response["status"] for response in responses} == {ending}
    assert [snapshot["status"] for snapshot in snapshots] == ["in_progress", "in_progress", ending]
    for response in [*responses, *snapshots]:
        assert_complete(response)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("request_fields", REQUESTS.values(), ids=REQUESTS)
async def test_every_answer_fits_the_specification(
    ending: str, request_fields: dict[str, Any], specification: Specification
) -> None:
    body = {"input": "hi", **request_fields}

    async with hosting(ScriptedAgent(ENDINGS[ending], ENDINGS[ending]), options=OPTIONS) as client:
        for response in await answers(client, body):
            specification.check_response(response)
        for event in await events(client, body):
            specification.check_event(event)


async def test_a_turn_in_the_background_fits_at_every_stage(specification: Specification) -> None:
    gate = Gate()
    check: list[Check] = [assert_complete, specification.check_response]

    async with hosting(ScriptedAgent(["Sun", gate, "ny"], ["Sun", Gate()])) as client:
        started = (await client.post("/responses", json={"input": "hi", "background": True})).json()
        await gate.reached()
        running = (await client.get(f"/responses/{started['id']}")).json()
        gate.open()
        second = (await client.post("/responses", json={"input": "hi", "background": True})).json()
        cancelled = (await client.post(f"/responses/{second['id']}/cancel")).json()
        after = (await client.get(f"/responses/{second['id']}")).json()

    assert [one["status"] for one in (started, running)] == ["in_progress", "in_progress"]
    assert [one["status"] for one in (cancelled, after)] == ["cancelled", "cancelled"]
    for response in (started, running, second, cancelled, after):
        for one in check:
            one(response)


async def test_a_replayed_stream_is_as_complete_as_the_first(specification: Specification) -> None:
    body = {"input": "hi", "background": True, "stream": True}

    async with hosting(ScriptedAgent(RICH)) as client:
        first = (await client.post("/responses", json=body)).log()
        again = (await client.get(f"/responses/{first.response['id']}?stream=true")).log()

    assert again.events == first.events
    for event in again.events:
        specification.check_event(event)
        if "response" in event:
            assert_complete(event["response"])


async def test_what_was_asked_is_repeated() -> None:
    async with hosting(ScriptedAgent(["ok"]), options=OPTIONS) as client:
        response = (await client.post("/responses", json={"input": "hi", **REQUESTS["with every option"]})).json()

    asked = REQUESTS["with every option"]
    same = ("temperature", "top_p", "max_output_tokens", "max_tool_calls", "parallel_tool_calls", "truncation",
            "prompt_cache_key", "safety_identifier", "metadata", "instructions", "tool_choice")  # fmt: skip
    assert {name: response[name] for name in same} == {name: asked[name] for name in same}
    assert response["reasoning"] == {"effort": "low", "summary": None}
    assert response["tools"] == [
        {"type": "function", "name": "f", "description": None, "parameters": None, "strict": None}
    ]


@pytest.mark.parametrize(
    ("form", "called"), [("mcp_call", ["mcp_call"]), ("function_call", ["function_call", "function_call_output"])]
)
async def test_an_item_that_the_specification_does_not_know_has_a_type_and_an_id(
    form: OwnTools, called: list[str]
) -> None:
    async with hosting(ScriptedAgent(RICH), options=HostOptions(own_tools=form)) as client:
        response = (await client.post("/responses", json={"input": "hi"})).json()

    kinds = ["reasoning", "message", *called, "mcp_call", "message"]
    assert [item["type"] for item in response["output"]] == kinds
    assert len({item["id"] for item in response["output"]}) == len(kinds)


def test_the_table_names_what_the_specification_requires(specification: Specification) -> None:
    assert sorted(REQUIRED) == sorted(specification.required)
