"""Streamed, whole and in the background, a turn comes to the same items, usage and error.

A whole turn runs its agent without streaming, but with Anthropic's client.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from hosted import CLIENTS, PIXEL, Hosted, hosting
from upstream import (
    CodeInterpreter,
    Failed,
    HttpError,
    ImageGeneration,
    Incomplete,
    McpCall,
    Message,
    Reasoning,
    Refusal,
    Reply,
    Text,
    ToolCall,
    UrlCitation,
    Usage,
    WebSearch,
    anthropic_client,
    chat_completion_client,
    foundry_client,
    responses_client,
    turn,
)

from hostedagent import HostOptions

PARIS = ToolCall("weather", {"city": "Paris"})
Way = Literal["streamed", "whole", "background"]

EVERYWHERE: Mapping[str, tuple[Reply, ...]] = {
    "text": (turn(Text("Hello there."), usage=Usage(11, 7)),),
    "a tool loop": (turn(Text("One."), PARIS), turn(Text("Sunny."))),
    "a refusal": (turn(Refusal("I cannot.")),),
    "cut short": (turn(Text("Once upon"), end=Incomplete()),),
    "filtered": (turn(Text("Once upon"), end=Incomplete("content_filter")),),
    "refused by the service": (HttpError(429, "Slow down.", "rate_limit_exceeded"),),
    "broken off": (turn(PARIS), turn(end=Failed())),
}
ON_RESPONSES: Mapping[str, tuple[Reply, ...]] = {
    "reasoning": (turn(Reasoning(("A", "B"), encrypted="sealed"), Text("Hm.")),),
    "broken off in the middle": (turn(PARIS), turn(Text("Once upon"), end=Failed())),
    "two messages": (turn(Text("One."), Text("Two.")),),
    "two messages of a tool loop": (turn(Text("One."), Text("Two."), PARIS), turn(Text("One."), Text("Two."))),
    "half a call": (turn(ToolCall("weather", '{"city": "Pa'), end=Incomplete()), turn(Text("Well."))),
    "two parts": (turn(Message((Text("One "), Text("two.", annotations=(UrlCitation("https://e.com", "E", 0, 3),))))),),
    "the service's tools": (
        turn(
            WebSearch("news", ("https://example.com",)),
            CodeInterpreter("print(1)"),
            ImageGeneration(PIXEL, (PIXEL,)),
            McpCall("docs", "find", {"q": "x"}, output="found"),
            Text("Done."),
        ),
    ),
}
CASES = [
    *((connect, name, replies) for connect in CLIENTS.values() for name, replies in EVERYWHERE.items()),
    *((responses_client, name, replies) for name, replies in ON_RESPONSES.items()),
    *((foundry_client, name, replies) for name, replies in (*EVERYWHERE.items(), *ON_RESPONSES.items())),
]
IDS = [f"{name} on {connect.__name__.removesuffix('_client')}" for connect, name, _ in CASES]


async def play(host: Hosted, way: Way, replies: tuple[Reply, ...]) -> Mapping[str, Any]:
    host.script(*replies)
    if way == "streamed":
        return (await host.ask("Hi")).response
    if way == "whole":
        reply = await host.client.post("/responses", json={"input": "Hi"})
        assert reply.status == 200
        return reply.json()
    queued = (await host.client.post("/responses", json={"input": "Hi", "background": True})).json()
    while (response := (await host.client.get(f"/responses/{queued['id']}")).json())["status"] in (
        "queued",
        "in_progress",
    ):
        pass
    return response


def comparable(response: Mapping[str, Any]) -> Any:
    """What does not name the response it belongs to: ids end in an entropy of their own."""
    text = {key: response[key] for key in ("status", "output", "usage", "error", "incomplete_details")}
    return _without_ids(text)


def _without_ids(value: Any) -> Any:
    match value:
        case dict():
            return {key: _without_ids(row) for key, row in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case list():
            return [_without_ids(row) for row in value]  # pyright: ignore[reportUnknownVariableType]
        case str() if re.fullmatch(r"[a-z]+_[0-9a-f]{16}00\w{32}", value):
            return value.partition("_")[0]
        case _:
            return value


@pytest.mark.parametrize(("connect", "name", "replies"), CASES, ids=IDS)
async def test_a_turn_comes_to_the_same_however_it_is_delivered(
    connect: Any, name: str, replies: tuple[Reply, ...]
) -> None:
    responses: dict[str, Mapping[str, Any]] = {}
    for way in ("streamed", "whole", "background"):
        async with hosting(connect) as host:
            responses[way] = await play(host, way, replies)
    streamed = comparable(responses["streamed"])
    assert comparable(responses["whole"]) == streamed
    assert comparable(responses["background"]) == streamed


@pytest.mark.parametrize(
    ("connect", "options", "streams"),
    [
        (responses_client, HostOptions(), False),
        (chat_completion_client, HostOptions(), False),
        (anthropic_client, HostOptions(), True),
        (responses_client, HostOptions(agent_streaming="always"), True),
        (responses_client, HostOptions(run_timeout=60), True),
    ],
    ids=["responses", "chat", "anthropic", "always", "run_timeout"],
)
async def test_a_whole_turn_asks_the_service_for_a_stream_only_where_it_must(
    connect: Any, options: HostOptions, streams: bool
) -> None:
    async with hosting(connect, host_options=options) as host:
        host.script(turn(PARIS), turn(Text("Sunny.")))
        await host.client.post("/responses", json={"input": "Hi"})
        host.script(turn(Text("Sunny.")))
        await host.ask("Hi")

        assert [bool(body.get("stream")) for body in host.upstream.requests] == [streams, streams, True]
