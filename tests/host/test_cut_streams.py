"""A background stream on the own routes, cut at any byte and resumed: the same events, none missing, none twice."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from agent_framework import AgentResponseUpdate, Content
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostedagent import AgentHost
from hostedagent.protocol.sse import FrameReader
from hostedagent.testing import Gate, InProcessClient, ScriptedAgent, serve

CALL = Content.from_function_call("c1", "look_up", arguments='{"city": "Málaga\u2028"}')
RESULT = AgentResponseUpdate(contents=[Content.from_function_result("c1", result="rain\r\n\r\nand sun")], role="tool")
BODY = {"input": "hi", "background": True, "stream": True}
SCRIPT = ("Let me ", "see.", CALL, RESULT, "Señor: rain\n\ndata: x", "\u0085 and sun.")


def events_of(data: bytes) -> list[dict[str, Any]]:
    """The whole events of a stream that may be cut anywhere."""
    return [json.loads(frame.data) for frame in FrameReader().feed(data) if frame.data]


async def resumed(client: InProcessClient, whole: bytes, cuts: list[int]) -> list[dict[str, Any]]:
    """Read the stream in pieces that end at the cuts, each resumed after the last whole event of the one before."""
    response_id = events_of(whole)[0]["response"]["id"]
    seen: list[dict[str, Any]] = []
    rest = whole
    for cut in cuts:
        seen += events_of(rest[:cut])
        after = seen[-1]["sequence_number"] if seen else -1
        rest = (await client.get(f"/responses/{response_id}?stream=true&starting_after={after}")).body
    return seen + events_of(rest)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fractions=st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_a_stream_that_is_cut_at_any_byte_and_resumed_has_the_same_events(fractions: list[float]) -> None:
    async def run() -> None:
        async with serve(AgentHost(ScriptedAgent(SCRIPT), driver="starlette").app) as client:
            whole = (await client.post("/responses", json=BODY)).body
            cuts = [int(fraction * len(whole)) for fraction in fractions]

            assert await resumed(client, whole, cuts) == events_of(whole)

    asyncio.run(run())


async def test_a_stream_is_cut_at_every_byte_once() -> None:
    async with serve(AgentHost(ScriptedAgent(SCRIPT), driver="starlette").app) as client:
        whole = (await client.post("/responses", json=BODY)).body
        response_id = events_of(whole)[0]["response"]["id"]
        rests: dict[int, list[dict[str, Any]]] = {}
        for cut in range(len(whole) + 1):
            seen = events_of(whole[:cut])
            after = seen[-1]["sequence_number"] if seen else -1
            if after not in rests:
                path = f"/responses/{response_id}?stream=true&starting_after={after}"
                rests[after] = events_of((await client.get(path)).body)
            assert seen + rests[after] == events_of(whole), cut

    assert len(rests) == len(events_of(whole)) + 1


@pytest.mark.parametrize("count", [1, 3])
async def test_a_stream_that_is_cut_while_the_turn_runs_goes_on_for_every_reader(count: int) -> None:
    gates = [Gate() for _ in range(count)]
    script = [step for n, gate in enumerate(gates) for step in (f"part {n}", gate)]
    async with serve(AgentHost(ScriptedAgent([*script, "end"]), driver="starlette").app) as client:
        seen: list[dict[str, Any]] = []
        response_id, path = "", "/responses"
        for n, gate in enumerate(gates):
            method, body = ("POST", BODY) if n == 0 else ("GET", None)
            async with client.stream(method, path, json=body) as events:
                await gate.reached()
                while (event := await anext(events)).get("delta") != f"part {n}":
                    seen.append(event)
                seen.append(event)
            response_id = response_id or seen[0]["response"]["id"]
            path = f"/responses/{response_id}?stream=true&starting_after={seen[-1]['sequence_number']}"
            gate.open()
        rest = events_of((await client.get(path)).body)
        again = events_of((await client.get(f"/responses/{response_id}?stream=true")).body)

    assert seen + rest == again
    assert [event["sequence_number"] for event in again] == list(range(len(again)))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_frames_are_read_wherever_their_bytes_are_cut(end: str) -> None:
    data = f"event: a{end}data: 1{end}{end}event: b{end}data: 2{end}{end}:{end}{end}".encode()
    for cut in range(len(data)):
        reader = FrameReader()
        frames = [*reader.feed(data[:cut]), *reader.feed(data[cut:])]
        assert [frame.data for frame in frames if frame.data] == ["1", "2"], cut
