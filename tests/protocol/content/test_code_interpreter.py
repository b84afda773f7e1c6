"""Code interpreter calls: code as it is written, results that say nothing, and outputs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from agent_framework import Content
from hypothesis import given
from hypothesis import strategies as st

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.content import End
from tests.protocol.content.harness import project, read, update
from tests.protocol.content.wire import again, emit, lines, log


def code(text: str, merge: Any = None, call_id: str | None = "ci_p", **fields: Any) -> Content:
    return Content.from_code_interpreter_tool_call(
        call_id=call_id, inputs=[Content.from_text(text)], merge_mode=merge, **fields
    )


def result(*outputs: Content, call_id: str | None = "ci_p", **fields: Any) -> Content:
    return Content.from_code_interpreter_tool_result(call_id=call_id, outputs=list(outputs), **fields)


def item(**fields: Any) -> dict[str, Any]:
    known = {"type": "code_interpreter_call", "status": "completed", "container_id": "", "code": "1+1", "outputs": None}
    return {**known, **fields}


LOGS = {"type": "logs", "logs": "2"}
PICTURE = {"type": "image", "url": "https://x/y.png"}
PIXEL = {"type": "image", "url": "data:image/png;base64,iVBORw0KGgo="}

READ = [
    pytest.param(item(), ["1+1"], None, id="code only"),
    pytest.param(item(code=None), [], None, id="no code"),
    pytest.param(item(outputs=[LOGS]), ["1+1"], ["text"], id="logs"),
    pytest.param(item(outputs=[PICTURE, PIXEL]), ["1+1"], ["uri", "data"], id="images"),
    pytest.param(item(outputs=[{"type": "video"}]), ["1+1"], ["text"], id="an unknown output is named"),
]


@pytest.mark.parametrize(("wire", "inputs", "outputs"), READ)
def test_an_item_is_read_as_call_and_result(wire: dict[str, Any], inputs: list[str], outputs: list[str] | None) -> None:
    contents = read({**wire, "id": "ci_1"})
    assert {c.call_id for c in contents} == {"ci_1"}
    assert [c.text for c in contents[0].inputs or ()] == inputs
    assert [[c.type for c in one.outputs or ()] for one in contents[1:]] == ([] if outputs is None else [outputs])


@pytest.mark.parametrize(
    ("wire", "param"),
    [
        ({}, "id"),
        ({"id": "c", "code": 1}, "code"),
        ({"id": "c", "outputs": "all"}, "outputs"),
        ({"id": "c", "outputs": [1]}, "outputs[0]"),
        ({"id": "c", "outputs": [{"type": "logs"}]}, "outputs[0].logs"),
        ({"id": "c", "outputs": [LOGS, {"type": "image"}]}, "outputs[1].url"),
    ],
)
def test_a_malformed_item_is_refused_with_the_place(wire: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read({"type": "code_interpreter_call", **wire})
    assert refused.value.param == param


EMIT = [
    pytest.param([code("1+1"), result(Content.from_text("2"))], item(outputs=[LOGS]), id="call and result"),
    pytest.param([result(Content.from_text("2"))], item(code="", outputs=[LOGS]), id="a result without a call"),
    pytest.param([code("1+1")], item(), id="a call without a result"),
    pytest.param([code("1+1"), result(status="completed")], item(outputs=[]), id="it ended and nothing came out"),
    pytest.param([code("1+1"), result(status="failed")], item(outputs=[], status="failed"), id="it failed"),
    pytest.param(
        [code("1+1"), result(Content.from_uri("https://x/y.png", media_type="image/png"))],
        item(outputs=[PICTURE]),
        id="an image",
    ),
    pytest.param(
        [code("1+1"), result(Content.from_error(message="Traceback"))],
        item(outputs=[{"type": "logs", "logs": "Traceback"}]),
        id="what the code wrote to its error output",
    ),
    pytest.param(
        [code("1+1"), result(Content.from_hosted_file("file_1"))],
        item(outputs=[{"type": "logs", "logs": "[file file_1]"}]),
        id="a file",
    ),
    pytest.param(
        [code("1+1", raw_representation={"container_id": "cntr_1"}), result(Content.from_text("2"))],
        item(container_id="cntr_1", outputs=[LOGS]),
        id="the container",
    ),
    pytest.param(
        [code("{'code': '1+1'}", raw_representation={"input": {"code": "1+1"}}), result(Content.from_text("2"))],
        item(outputs=[LOGS]),
        id="code inside Anthropic's input",
    ),
    pytest.param(
        [code("{}", "append", raw_representation={"input": {}}), result(Content.from_text("2"), merge_mode="replace")],
        item(code="", outputs=[LOGS]),
        id="Anthropic does not stream the input",
    ),
]


@pytest.mark.parametrize(("contents", "expected"), EMIT)
def test_a_call_and_its_results_are_one_item(contents: list[Content], expected: dict[str, Any]) -> None:
    assert emit(*contents) == expected


def test_code_streams_as_openai_sends_it_and_the_next_act_ends_the_call() -> None:
    empty = result(status="in_progress", merge_mode="append")
    assert lines(empty, code("1", "append"), code("+1", "append"), code("1+1", "replace"), Content.from_text("2")) == [
        "item+ 0 code_interpreter_call",
        "code_interpreter_call.in_progress 0",
        'code 0 "1"',
        'code 0 "+1"',
        'code= 0 "1+1"',
        "code_interpreter_call.interpreting 0",
        "code_interpreter_call.completed 0",
        "item- 0 code_interpreter_call completed",
        "item+ 1 message",
        "part+ 1.0 output_text",
        'text 1.0 "2"',
        'text= 1.0 "2"',
        "part- 1.0 output_text",
        "item- 1 message completed",
    ]


def test_two_runs_side_by_side_keep_their_own_code_and_results() -> None:
    projected = project(
        [
            code("a", "append", "c1"),
            code("b", "append", "c2"),
            code("a1", "replace", "c1"),
            code("b2", "replace", "c2"),
            result(Content.from_text("B"), call_id="c2"),
            result(Content.from_text("A"), call_id="c1"),
        ]
    )
    log(projected)
    assert [(i["code"], i["outputs"][0]["logs"]) for i in projected.items] == [("a1", "A"), ("b2", "B")]


def test_code_that_is_still_written_outlives_other_words_and_the_end_of_a_message() -> None:
    projected = project(
        [
            update(code("1", "append"), message_id="m"),
            update(Content.from_text("x"), message_id="m", finish_reason="stop"),
            update(code("+1", "append"), message_id="m"),
            update(result(Content.from_text("2")), message_id="m"),
        ]
    )
    assert projected.items[0]["code"] == "1+1"
    log(projected)


def test_complete_code_ends_with_its_message() -> None:
    projected = project([update(code("1", "replace"), message_id="m", finish_reason="stop")])
    assert projected.types[-1] == "output_item.done"
    log(projected)


def test_runs_without_an_id_are_items_of_their_own() -> None:
    one, two = result(Content.from_text("1"), call_id=None), result(Content.from_text("2"), call_id=None)
    assert len(project([one, two]).items) == 2


def test_a_run_that_is_cut_off_is_incomplete() -> None:
    projected = project([code("1", "append")], end=End(status="incomplete"))
    log(projected)
    assert projected.items[0]["status"] == "incomplete"


def test_the_provider_knows_the_run_by_its_own_id_in_the_next_turn() -> None:
    (stored,) = project([code("1"), result(Content.from_text("1"))]).items
    assert {c.call_id for c in read(stored)} == {"ci_p"}


ROUND_TRIP = [item(), item(code=""), item(outputs=[]), item(outputs=[LOGS, PICTURE, PIXEL]), item(container_id="c")]


@pytest.mark.parametrize("wire", [*ROUND_TRIP, item(status="failed"), item(status="incomplete", outputs=[LOGS])])
def test_an_item_that_was_read_and_sent_is_the_same(wire: dict[str, Any]) -> None:
    assert again({**wire, "id": "ci_1"}) == wire


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT, st.one_of(st.none(), st.lists(TEXT.map(lambda text: {"type": "logs", "logs": text}))), TEXT)
def test_any_run_survives_the_round_trip(source: str, outputs: Any, container: str) -> None:
    wire = item(code=source, outputs=outputs, container_id=container)
    assert again({**wire, "id": "ci_1"}) == wire


@given(st.lists(st.text("ab", min_size=1), min_size=1))
def test_deltas_and_the_snapshot_say_the_code_once(chunks: list[str]) -> None:
    whole = "".join(chunks)
    assert emit(*(code(chunk, "append") for chunk in chunks), code(whole, "replace")) == item(code=whole)


@pytest.mark.parametrize(
    "outputs",
    [
        [Content.from_text("2").to_dict()],
        {"type": "text", "text": "2"},
        "2",
        ["2"],
        [{"type": "output_text", "text": "2"}],
    ],
    ids=["mappings", "a mapping", "a text", "texts", "parts of a message"],
)
def test_outputs_are_read_however_an_agent_gives_them(outputs: Any) -> None:
    given = Content("code_interpreter_tool_result", call_id="ci_p", outputs=outputs)
    assert emit(code("1+1"), given) == item(outputs=[LOGS])


def test_an_image_that_code_made_may_come_as_bytes() -> None:
    given = Content("code_interpreter_tool_result", call_id="ci_p", outputs=b"\x89PNG\r\n\x1a\n")
    assert emit(code("1+1"), given) == item(outputs=[PIXEL])


def test_what_a_service_names_a_run_and_is_none_adds_nothing() -> None:
    done = SimpleNamespace(
        type="response.output_item.done", item=SimpleNamespace(type="code_interpreter_call", outputs=[None])
    )

    assert project([update(raw_representation=done)]).items == []
