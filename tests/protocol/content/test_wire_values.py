"""What leaves is JSON in UTF-8, whatever Python can hold: no half characters, no NaN, no foreign objects."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from agent_framework import Annotation, Content, UsageDetails
from pydantic import BaseModel

from hostedagent.agents.usage import UsageCount
from hostedagent.protocol.content import ToolRoles
from hostedagent.protocol.content.parts import REFUSAL
from hostedagent.protocol.types import CountUsage
from hostedagent.protocol.wire import Characters, wire_value
from tests.protocol.content.harness import Projected, project, update
from tests.protocol.content.wire import log

FACE = "\U0001f600"
FIRST, SECOND = "\ud83d", "\ude00"
OWN = ToolRoles(own=frozenset({"f"}))


def said(kind: str, text: str, mode: str | None = None) -> Content:
    match kind:
        case "text":
            return Content.from_text(text, merge_mode=mode)  # pyright: ignore[reportArgumentType]
        case "refusal":
            return Content.from_text(text, additional_properties=dict(REFUSAL), merge_mode=mode)  # pyright: ignore[reportArgumentType]
        case "reasoning":
            return Content.from_text_reasoning(text=text, merge_mode=mode)  # pyright: ignore[reportArgumentType]
        case "raw reasoning":
            raw = {"openai": {"reasoning_text": True}}
            return Content.from_text_reasoning(text=text, additional_properties=raw, merge_mode=mode)  # pyright: ignore[reportArgumentType]
        case "code":
            return Content.from_code_interpreter_tool_call(
                call_id="c",
                inputs=[Content.from_text(text)],
                merge_mode=mode,  # pyright: ignore[reportArgumentType]
            )
        case _:
            return Content.from_function_call("c", "f", arguments=text, merge_mode=mode)  # pyright: ignore[reportArgumentType]


def whole(kind: str, projected: Projected) -> str:
    """The text of the finished item."""
    (item,) = projected.items
    match kind:
        case "text" | "refusal":
            return item["content"][0]["text" if kind == "text" else "refusal"]
        case "reasoning" | "raw reasoning":
            return item["summary" if kind == "reasoning" else "content"][0]["text"]
        case "code":
            return item["code"]
        case _:
            return item["arguments"]


def run(kind: str, *texts: str, snapshot: str | None = None) -> Projected:
    contents = [said(kind, text, "append") for text in texts]
    contents += [said(kind, snapshot, "replace")] if snapshot is not None else []
    own: Any = "mcp_call" if kind == "own arguments" else "function_call"
    return project(contents, tools=OWN, own_tools=own)


KINDS = ["text", "refusal", "reasoning", "raw reasoning", "code", "arguments", "own arguments"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def deltas(projected: Projected) -> list[str]:
    return [event["delta"] for event in projected.events if event["type"].endswith(".delta")]


@every_kind
@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (['{"a": "', FIRST, SECOND, '"}'], f'{{"a": "{FACE}"}}'),
        (['{"a": "x' + FIRST, SECOND + 'y"}'], f'{{"a": "x{FACE}y"}}'),
        (['{"a": "' + FIRST, 'y"}'], '{"a": "\ufffdy"}'),
        (['{"a": "' + SECOND, '"}'], '{"a": "\ufffd"}'),
        (['{"a": "' + FIRST, FIRST + SECOND + '"}'], f'{{"a": "\ufffd{FACE}"}}'),
    ],
    ids=["cut", "cut inside words", "a first half alone", "a second half alone", "two first halves"],
)
def test_a_character_that_is_cut_in_two_is_whole_and_half_a_one_is_marked(
    kind: str, pieces: list[str], expected: str
) -> None:
    projected = run(kind, *pieces)

    if kind != "own arguments":
        log(projected)
    assert whole(kind, projected) == expected
    assert "".join(deltas(projected)) == expected
    json.dumps(projected.events, ensure_ascii=False).encode()


@every_kind
def test_half_a_character_at_the_end_of_a_text_is_marked(kind: str) -> None:
    projected = run(kind, "ab", FIRST)

    assert whole(kind, projected) == "ab\ufffd"
    assert "".join(deltas(projected)) == "ab\ufffd"


@every_kind
def test_a_snapshot_completes_the_character_that_was_cut(kind: str) -> None:
    projected = run(kind, '{"a": "', FIRST, snapshot=f'{{"a": "{FACE}"}}')

    assert whole(kind, projected) == f'{{"a": "{FACE}"}}'
    assert "".join(deltas(projected)) == f'{{"a": "{FACE}"}}'


LONE = "x\ud800"
MARKED = "x\ufffd"
NAMED: dict[str, Callable[[], list[Any]]] = {
    "a function's name": lambda: [Content.from_function_call("c", LONE, arguments="{}")],
    "a call's id": lambda: [Content.from_function_call(LONE, "f", arguments="{}")],
    "a result": lambda: [Content.from_function_result("c", result=LONE)],
    "an author": lambda: [update(Content.from_text("a"), author_name=LONE)],
    "the title of a citation": lambda: [
        Content.from_text("a", annotations=[Annotation(type="citation", url="https://x", title=LONE)])
    ],
    "a citation that is not known": lambda: [
        Content.from_text(
            "a", annotations=[Annotation(type="citation", additional_properties={"wire": {"type": "t", LONE: [LONE]}})]
        )
    ],
    "an MCP server": lambda: [Content.from_mcp_server_tool_call("c", "f", server_name=LONE, arguments="{}")],
    "a container": lambda: [
        Content.from_code_interpreter_tool_call(call_id="c", additional_properties={"openai": {"container_id": LONE}})
    ],
    "what a search looks for": lambda: [
        Content.from_search_tool_call("c", tool_name="web_search", arguments={"query": LONE})
    ],
    "a file's name": lambda: [Content.from_hosted_file("f", name=LONE)],
    "what a command printed": lambda: [
        Content.from_shell_tool_result(
            call_id="c", outputs=[Content.from_shell_command_output(stdout=LONE, exit_code=0, timed_out=False)]
        )
    ],
}


@pytest.mark.parametrize("made", NAMED.values(), ids=NAMED)
def test_half_a_character_is_marked_wherever_it_stands(made: Callable[[], list[Any]]) -> None:
    projected = project(made())

    sent = json.dumps([projected.events, projected.items], ensure_ascii=False)
    assert MARKED in sent
    sent.encode()


class Weight(BaseModel):
    token: str
    logprob: float


NAN, INF = math.nan, math.inf
NUMBERS: dict[str, Callable[[], list[Any]]] = {
    "the log probability of a token": lambda: [
        Content.from_text("a", additional_properties={"openai": {"logprobs": [{"token": "a", "logprob": -INF}]}})
    ],
    "log probabilities that are models": lambda: [
        Content.from_text("a", additional_properties={"openai": {"logprobs": [Weight(token="a", logprob=NAN)]}})
    ],
    "a citation that is not known": lambda: [
        Content.from_text(
            "a", annotations=[Annotation(type="citation", additional_properties={"wire": {"type": "t", "score": NAN}})]
        )
    ],
    "arguments": lambda: [Content.from_function_call("c", "f", arguments={"x": NAN, "y": [INF]})],
    "a result": lambda: [Content("function_result", call_id="c", result={"x": -INF})],
    "what a search found": lambda: [
        Content.from_search_tool_result("c", tool_name="file_search", result=[{"text": "a", "score": NAN}])
    ],
    "the output of an MCP tool": lambda: [Content.from_mcp_server_tool_result("c", output={"x": INF})],
    "the limit of a shell": lambda: [
        Content.from_shell_tool_call(call_id="c", commands=["ls"], timeout_ms=INF)  # pyright: ignore[reportArgumentType]
    ],
    "what is done on a screen": lambda: [
        Content("computer_tool_call", id="i", call_id="c", actions=[{"type": "click", "x": NAN, "y": 1}])
    ],
}


@pytest.mark.parametrize("made", NUMBERS.values(), ids=NUMBERS)
def test_what_is_no_number_is_null(made: Callable[[], list[Any]]) -> None:
    projected = project(made())

    sent = json.dumps([projected.events, projected.items], allow_nan=False)
    assert not any(word in sent for word in ("NaN", "Infinity"))
    assert "null" in sent


@pytest.mark.parametrize("count", [NAN, INF, -INF, -1, 2**53, True, "7", None])
def test_what_is_no_count_of_tokens_is_not_counted(count: Any) -> None:
    usage = UsageCount()
    usage.count(CountUsage(UsageDetails(input_token_count=count, output_token_count=2), replaces=False))

    assert usage.wire()["input_tokens"] == 0
    json.dumps(usage.wire(), allow_nan=False)


def test_a_value_that_needs_no_change_is_not_copied() -> None:
    value = {"a": [1, 2.5, None, True, "é"], "b": {"c": "d"}}

    assert wire_value(value) is value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": None, "\ud800": None}, {"a": None, "\ufffd": None}),
        ({1: "a"}, {"1": "a"}),
        ((1, NAN), [1, None]),
        ([{"a": {"b": INF}}], [{"a": {"b": None}}]),
        (Weight(token=LONE, logprob=INF), {"token": MARKED, "logprob": None}),
        ({"a": object}, {"a": "<class 'object'>"}),
    ],
)
def test_foreign_values_become_json_and_stay_as_they_are(value: Any, expected: Any) -> None:
    before = repr(value)

    assert wire_value(value) == expected
    assert repr(value) == before


def test_characters_keep_nothing_back_but_a_first_half() -> None:
    characters = Characters()

    assert [characters.take(text) for text in ("", "a", "é", FIRST, "", SECOND, "b")] == [
        "",
        "a",
        "é",
        "",
        "",
        FACE,
        "b",
    ]
    assert characters.rest() == ""
