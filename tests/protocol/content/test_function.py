"""Function calls and results: fragments, snapshots, repeats, held calls, rich results."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import pytest
from agent_framework import Content
from hypothesis import given
from hypothesis import strategies as st

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.content import End
from hostedagent.protocol.json import is_whole
from tests.protocol.content.harness import project, read, update
from tests.protocol.content.wire import again, bare, emit, lines, log

DATA = b"\x89PNG\r\n\x1a\n1"
DATA_URL = f"data:image/png;base64,{base64.b64encode(DATA).decode()}"
PIXEL = {"type": "input_image", "image_url": DATA_URL, "detail": "auto"}


def call(arguments: Any = None, name: str = "add", call_id: str = "c1", **fields: Any) -> Content:
    return Content.from_function_call(call_id, name, arguments=arguments, **fields)


def result(value: Any, call_id: str = "c1", **fields: Any) -> Content:
    return Content.from_function_result(call_id, result=value, **fields)


def waits(content: Content) -> Content:
    content.user_input_request = True
    return content


def foreign(**fields: Any) -> Content:
    """A result as a stored session or a custom agent gives it."""
    return Content("function_result", call_id="c1", **fields)


def item(arguments: str = '{"a":1}', **fields: Any) -> dict[str, Any]:
    return {
        "type": "function_call",
        "call_id": "c1",
        "name": "add",
        "arguments": arguments,
        "status": "completed",
    } | fields


def output(value: Any = "3", **fields: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": "c1", "output": value, "status": "completed"} | fields


CUSTOM: dict[str, Any] = {"type": "custom_tool_call", "call_id": "c1", "name": "add", "input": "free text"}
CUSTOM_OUTPUT: dict[str, Any] = {"type": "custom_tool_call_output", "call_id": "c1", "output": "3"}
READ = [
    pytest.param(item(), ("function_call", "c1", "add", '{"a":1}'), id="call"),
    pytest.param(item(""), ("function_call", "c1", "add", "{}"), id="call without arguments"),
    pytest.param(CUSTOM, ("function_call", "c1", "add", "free text"), id="custom call"),
    pytest.param(output(), ("function_result", "c1", None, None), id="output"),
    pytest.param(CUSTOM_OUTPUT, ("function_result", "c1", None, None), id="custom output"),
]


@pytest.mark.parametrize(("wire", "expected"), READ)
def test_an_item_is_read_as_one_content(wire: dict[str, Any], expected: Any) -> None:
    (content,) = read(wire)
    assert (content.type, content.call_id, content.name, content.arguments) == expected


@pytest.mark.parametrize(
    ("wire", "param"),
    [
        (item(call_id=None), "call_id"),
        (item(name=""), "name"),
        ({**item(), "arguments": {}}, "arguments"),
        ({**CUSTOM, "input": None}, "input"),
        (output(None), "output"),
        (output([{"type": "input_image"}]), "output[0]"),
    ],
)
def test_a_malformed_item_is_refused_with_the_place(wire: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(wire)
    assert refused.value.param == param


@dataclass
class Order:
    number: int


PICTURE = Content.from_uri("https://x/y.png", media_type="image/png")
EMIT = [
    pytest.param([call('{"a":1}')], item(), id="whole"),
    pytest.param([call({"a": 1})], item('{"a": 1}'), id="a mapping"),
    pytest.param([call({"a": 1}), call({"b": 2})], item('{"a": 1, "b": 2}'), id="mappings merge"),
    pytest.param([call({"order": Order(1)})], item('{"order": {"number": 1}}'), id="live objects"),
    pytest.param([call()], item("{}"), id="without arguments"),
    pytest.param(
        [call('{"a"', merge_mode="append"), call(":1}", ""), call('{"a":1}', merge_mode="replace")],
        item(),
        id="fragments and their snapshot",
    ),
    pytest.param(
        [call({}), call('{"a":1}', merge_mode="append")], item(), id="an empty mapping first, as Anthropic begins"
    ),
    pytest.param([call('{"a":1}'), waits(call())], item(), id="a repeat of the caller's call without arguments"),
    pytest.param([call('{"a":1}'), waits(call('{"a":1}'))], item(), id="a repeat with arguments"),
    pytest.param([call('{"a":1}'), waits(call({"a": 1}))], item(), id="a repeat with arguments as a mapping"),
    pytest.param([call(name=""), call('{"a":1}')], item(), id="the name comes late"),
    pytest.param([result("3")], output(), id="a result"),
    pytest.param([result(None)], output(""), id="no result"),
    pytest.param([result("\ud800")], output("\ufffd"), id="lone surrogate"),
    pytest.param([result("\ud83d\ude00 \udfff!")], output("\U0001f600 \ufffd!"), id="a pair and a lone surrogate"),
    pytest.param(
        [Content("function_result", call_id="c1", result=[float("nan"), -float("inf"), "NaN"])],
        output('[null, null, "NaN"]'),
        id="numbers without JSON",
    ),
    pytest.param([Content("function_result", call_id="c1", result=Order(1))], output('{"number": 1}'), id="an object"),
    pytest.param(
        [result("Error: Function failed.", exception="secret in a traceback")],
        output("Error: Function failed."),
        id="never the exception",
    ),
    pytest.param(
        [result([Content.from_text("see"), PICTURE])],
        output(
            [
                {"type": "input_text", "text": "see"},
                {"type": "input_image", "image_url": "https://x/y.png", "detail": "auto"},
            ]
        ),
        id="a picture",
    ),
    *(
        pytest.param([foreign(**fields)], output([PIXEL]), id=name)
        for name, fields in {
            "items that are mappings": {"items": [{"type": "data", "uri": DATA_URL, "media_type": "image/png"}]},
            "items that are parts": {"items": [{"type": "input_image", "image_url": DATA_URL}]},
            "items that are bytes": {"items": [DATA]},
            "one item": {"items": Content.from_data(DATA, "image/png")},
            "bytes": {"result": DATA},
            "a content": {"result": Content.from_data(DATA, "image/png")},
            "a list of contents": {"result": [Content.from_data(DATA, "image/png")]},
        }.items()
    ),
    pytest.param([foreign(items=["a", "b"])], output("ab"), id="items that are texts"),
    pytest.param(
        [foreign(result={(1, 2): {True: [ValueError("secret")]}})],
        output('{"(1, 2)": {"True": ["ValueError"]}}'),
        id="names that are no texts, and an exception",
    ),
    pytest.param([call({(1, 2): 3})], item('{"(1, 2)": 3}'), id="arguments whose names are no texts"),
    pytest.param([call(" \n")], item(" \n{}"), id="arguments of white space"),
    pytest.param([call('{"a": NaN}')], item('{"a": NaN}', status="incomplete"), id="arguments that are not JSON"),
]


@pytest.mark.parametrize(("contents", "expected"), EMIT)
def test_contents_make_one_item(contents: list[Content], expected: dict[str, Any]) -> None:
    assert emit(*contents) == expected


def test_a_call_streams_and_its_snapshot_ends_it() -> None:
    contents = [call("", merge_mode="append"), call('{"a"', merge_mode="append"), call('{"a":1}', merge_mode="replace")]
    assert lines(*contents, result("3")) == [
        "item+ 0 function_call add call-1",
        'args 0 "{\\"a\\""',
        'args 0 ":1}"',
        'args= 0 "{\\"a\\":1}"',
        "item- 0 function_call add call-1 completed",
        "item+ 1 function_call_output call-1 3",
        "item- 1 function_call_output call-1 3 completed",
    ]


def test_a_custom_call_streams_as_input() -> None:
    marked = {"openai": {"item_type": "custom_tool_call"}}
    assert lines(call("free", additional_properties=marked)) == [
        "item+ 0 custom_tool_call add call-1",
        'input 0 "free"',
        'input= 0 "free"',
        "item- 0 custom_tool_call add call-1",
    ]


def test_fragments_of_two_calls_that_interleave_stay_apart() -> None:
    projected = project([call("{", call_id="1"), call("[", call_id="2"), call("}", "", "1"), call("]", "", "2")])
    log(projected)
    assert [i["arguments"] for i in projected.items] == ["{}", "[]"]


def test_a_fragment_without_an_id_belongs_to_the_latest_call() -> None:
    projected = project([call("{", call_id="1"), call("[", call_id="2"), call("]", "", "")])
    assert [i["arguments"] for i in projected.items] == ["{", "[]"]


def test_the_occurrence_tells_calls_apart_that_share_a_call_id() -> None:
    first, second = call("1", id="af-call-1"), call("2", id="af-call-2")
    assert [i["arguments"] for i in project([first, second]).items] == ["1", "2"]


def test_the_repeat_of_a_call_that_has_ended_is_dropped() -> None:
    contents = [call('{"a":1}', merge_mode="replace"), waits(call()), waits(call('{"a":1}'))]
    assert len(project(contents).items) == 1


HELD = frozenset({"add"})


def ask(call_id: str = "c1") -> Content:
    return Content.from_function_approval_request(call_id, call('{"a":1}', call_id=call_id))


def test_a_held_call_that_becomes_a_question_leaves_no_call() -> None:
    projected = project([call('{"a":1}', merge_mode="replace"), ask()], held_calls=HELD)
    assert "function_call" not in [i["type"] for i in projected.items]


def test_a_held_call_whose_result_comes_is_shown_before_the_result() -> None:
    contents = [call('{"a":1}', merge_mode="replace"), update(result("3"), role="tool")]
    projected = project(contents, held_calls=HELD)
    log(projected)
    assert [bare(i) for i in projected.items] == [item(), output()]


def test_a_held_call_waits_past_the_end_of_the_model_call() -> None:
    projected = project([update(call('{"a":1}'), finish_reason="tool_calls"), ask()], held_calls=HELD)
    assert "function_call" not in [i["type"] for i in projected.items]


def test_a_held_call_that_nobody_asks_about_is_shown_at_the_end() -> None:
    assert [bare(i) for i in project([call('{"a":1}', merge_mode="replace")], held_calls=HELD).items] == [item()]


def test_a_question_about_another_call_does_not_take_a_held_call_away() -> None:
    projected = project([call("1", call_id="c1"), call("2", call_id="c2"), ask("c2")], held_calls=HELD)
    assert [i["call_id"] for i in projected.items if i["type"] == "function_call"] == ["c1"]


def test_a_call_that_is_cut_off_is_incomplete() -> None:
    projected = project([call('{"a"')], end=End(status="incomplete"))
    log(projected)
    assert projected.items[0]["status"] == "incomplete"


RICH: list[Any] = [
    {"type": "input_text", "text": "see"},
    {"type": "input_image", "image_url": "https://x/y.png", "detail": "low"},
    {"type": "input_file", "file_url": "https://x/y.pdf", "filename": "y.pdf"},
]


@pytest.mark.parametrize("wire", [item(), CUSTOM, output(), output(RICH)])
def test_an_item_that_was_read_and_sent_is_the_same(wire: dict[str, Any]) -> None:
    assert again(wire) == wire


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT.map(json.dumps), TEXT.filter(bool), TEXT.filter(bool))
def test_any_call_survives_the_round_trip(arguments: str, name: str, call_id: str) -> None:
    wire = item(arguments, name=name, call_id=call_id)
    assert again(wire) == wire


@given(TEXT)
def test_any_output_survives_the_round_trip(value: str) -> None:
    assert again(output(value)) == output(value)


@given(st.lists(st.text("ab{}", min_size=1), min_size=1))
def test_fragments_and_the_snapshot_say_the_arguments_once(chunks: list[str]) -> None:
    contents = [call(chunk, merge_mode="append") for chunk in chunks]
    whole = "".join(chunks)
    assert emit(*contents, call(whole, merge_mode="replace")) == item(
        whole, status="completed" if is_whole(whole) else "incomplete"
    )


# Bounded: most of what is drawn without a bound is too large, and is drawn again.
JSON = st.recursive(
    st.none() | st.booleans() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
)


@given(st.dictionaries(TEXT, JSON, min_size=1, max_size=4))
def test_a_mapping_of_arguments_becomes_the_same_json(arguments: dict[str, Any]) -> None:
    assert json.loads(emit(call(arguments))["arguments"]) == arguments
