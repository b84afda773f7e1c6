"""MCP calls of the model's service: one item for call and result, however little the call knew."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agent_framework import Content
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses.response_output_item import McpCall

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.content import End
from tests.protocol.content.harness import project, read, update
from tests.protocol.content.wire import again, emit, lines, log

NO_ERROR: dict[str, Any] = {}


def call(arguments: Any = '{"q":1}', call_id: str = "mcp_p", **fields: Any) -> Content:
    return Content.from_mcp_server_tool_call(call_id, "find", server_name="docs", arguments=arguments, **fields)


def result(output: Any = "found", call_id: str = "mcp_p", **fields: Any) -> Content:
    return Content.from_mcp_server_tool_result(call_id, output=output, **fields)


def raw(**fields: Any) -> McpCall:
    known: dict[str, Any] = {"id": "mcp_p", "arguments": '{"q":2}', "name": "find", "server_label": "docs"}
    return McpCall.model_validate({**known, "type": "mcp_call", **fields})


def item(**fields: Any) -> dict[str, Any]:
    known: dict[str, Any] = {"server_label": "docs", "name": "find", "arguments": '{"q":1}', "output": "found"}
    known |= {"error": None, "approval_request_id": None}
    return {"type": "mcp_call", **known, "status": "completed", **fields}


FAILURE: dict[str, Any] = {"type": "http_error", "code": 500, "message": "no"}
UNTIDY: dict[str, Any] = {"type": "mcp_tool_execution_error", "content": "no"}

READ = [
    pytest.param(item(), [("mcp_server_tool_call", "mcp_1"), ("mcp_server_tool_result", "mcp_1")], id="with a result"),
    pytest.param(item(output=None), [("mcp_server_tool_call", "mcp_1")], id="without a result"),
    pytest.param(
        item(output=None, error=FAILURE, status="failed"),
        [("mcp_server_tool_call", "mcp_1"), ("mcp_server_tool_result", "mcp_1")],
        id="failed",
    ),
]


@pytest.mark.parametrize(("wire", "expected"), READ)
def test_a_call_is_read_with_its_result(wire: dict[str, Any], expected: list[Any]) -> None:
    contents = read({**wire, "id": "mcp_1"})
    assert [(c.type, c.call_id) for c in contents] == expected
    assert (contents[0].tool_name, contents[0].server_name, contents[0].arguments) == ("find", "docs", '{"q":1}')


def test_an_output_is_read_as_the_string_that_every_client_can_send_on() -> None:
    assert read({**item(), "id": "mcp_1"})[1].output == "found"


def test_a_list_of_tools_is_read_as_words() -> None:
    wire = {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "docs", "tools": [{"name": "a"}, {"name": "b"}]}
    assert [c.text for c in read(wire)] == ["[tools of the MCP server docs: a, b]"]


@pytest.mark.parametrize(
    ("wire", "param"),
    [
        ({**item(), "id": ""}, "id"),
        ({**item(), "id": "m", "name": ""}, "name"),
        ({**item(), "id": "m", "arguments": {}}, "arguments"),
        ({**item(), "id": "m", "output": []}, "output"),
        ({"type": "mcp_list_tools", "tools": "all"}, "tools"),
    ],
)
def test_a_malformed_item_is_refused_with_the_place(wire: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(wire)
    assert refused.value.param == param


EMIT = [
    pytest.param([call(), result()], item(), id="call and result"),
    pytest.param([call({"q": 1}), result()], item(arguments='{"q": 1}'), id="a mapping"),
    pytest.param([call(""), result(raw_representation=raw())], item(arguments='{"q":2}'), id="only the result knows"),
    pytest.param([call(""), result(raw_representation={"arguments": "{}"})], item(arguments="{}"), id="as a mapping"),
    pytest.param([call("", raw_representation=raw()), result()], item(arguments='{"q":2}'), id="the raw call knows"),
    pytest.param([result(raw_representation=raw())], item(arguments='{"q":2}'), id="a result without a call"),
    pytest.param([call()], item(output=None), id="a call without a result"),
    pytest.param([call(), result([Content.from_text("a"), Content.from_text("b")])], item(output="ab"), id="texts"),
    pytest.param([call(), result({"n": 1})], item(output='{"n": 1}'), id="an object"),
    pytest.param(
        [call(), result([Content.from_text("a"), Content.from_uri("https://x/y.png", media_type="image/png")])],
        item(
            output='[{"type": "input_text", "text": "a"}, '
            '{"type": "input_image", "image_url": "https://x/y.png", "detail": "auto"}]'
        ),
        id="an image",
    ),
    pytest.param(
        [call(), result(None, raw_representation=raw(error=FAILURE, status="failed"))],
        item(output=None, status="failed", error=FAILURE),
        id="an error",
    ),
    pytest.param(
        [call(), result(None, raw_representation={"error": "no"})],
        item(output=None, status="failed", error=UNTIDY),
        id="an error that is only words",
    ),
    pytest.param(
        [call(), result("no", raw_representation={"is_error": True})],
        item(output="no", status="failed", error=UNTIDY),
        id="an error as Anthropic says it",
    ),
    pytest.param(
        [call('{"q"'), result()], item(arguments='{"q"', status="incomplete"), id="arguments that are not whole"
    ),
    pytest.param(
        [call('{"q": Infinity}'), result()],
        item(arguments='{"q": Infinity}', status="incomplete"),
        id="arguments that are not JSON",
    ),
    pytest.param(
        [call(), result(b"\x89PNG\r\n\x1a\n1")],
        item(
            output='[{"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgox", "detail": "auto"}]',
        ),
        id="bytes",
    ),
]


@pytest.mark.parametrize(("contents", "expected"), EMIT)
def test_a_call_and_its_result_are_one_item(contents: list[Content], expected: dict[str, Any]) -> None:
    assert emit(*contents) == expected


def test_arguments_stream_before_the_result_when_the_call_has_them() -> None:
    assert lines(call(), result()) == [
        "item+ 0 mcp_call docs find",
        "mcp_call.in_progress 0",
        'args 0 "{\\"q\\":1}"',
        'args= 0 "{\\"q\\":1}"',
        "mcp_call.completed 0",
        "item- 0 mcp_call docs find found completed",
    ]


def test_a_failed_call_says_so_as_a_step() -> None:
    failed = result(None, raw_representation=raw(error=FAILURE, status="failed"))
    assert "mcp_call.failed 0" in lines(call(), failed)


def test_a_result_finds_its_call_past_everything_between() -> None:
    projected = project(
        [
            update(call(call_id="m1"), message_id="1"),
            update(call(call_id="m2"), message_id="1"),
            update(Content.from_text("wait"), message_id="1", finish_reason="stop"),
            update(result("two", "m2"), message_id="2"),
            update(result("one", "m1"), role="tool"),
        ]
    )
    log(projected)
    assert [(i["type"], i.get("output")) for i in projected.items] == [
        ("mcp_call", "one"),
        ("mcp_call", "two"),
        ("message", None),
    ]


def test_a_result_without_an_author_finds_the_call_of_an_agent() -> None:
    projected = project([update(call(), author_name="a"), update(result(), role="tool")])
    assert [i["output"] for i in projected.items] == ["found"]


def test_a_repeat_of_a_finished_call_is_dropped() -> None:
    assert len(project([call(), result(), call(), result()]).items) == 1


def test_a_call_that_is_cut_off_is_incomplete() -> None:
    projected = project([call()], end=End(status="incomplete"))
    log(projected)
    assert projected.items[0]["status"] == "incomplete"


def test_the_provider_knows_the_call_by_its_own_id_in_the_next_turn() -> None:
    (stored,) = project([call(), result()]).items
    assert stored["id"] != "mcp_p"
    assert {c.call_id for c in read(stored)} == {"mcp_p"}


ROUND_TRIP = [
    item(),
    item(output=None),
    item(output=""),
    item(approval_request_id="mcpr_1"),
    item(output=None, error=FAILURE, status="failed"),
    item(output=None, status="failed"),
    item(output=None, status="incomplete"),
]


@pytest.mark.parametrize("wire", ROUND_TRIP)
def test_an_item_that_was_read_and_sent_is_the_same(wire: dict[str, Any]) -> None:
    assert again({**wire, "id": "mcp_1"}) == wire


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT.map(json.dumps), st.one_of(st.none(), TEXT), st.text("ab", min_size=1), TEXT)
def test_any_call_survives_the_round_trip(arguments: str, output: str | None, name: str, server: str) -> None:
    wire = item(arguments=arguments, output=output, name=name, server_label=server)
    assert again({**wire, "id": "mcp_1"}) == wire


def test_a_call_that_came_without_arguments_has_an_empty_object() -> None:
    sent = log(project([call(""), result()])).events
    done = [event["arguments"] for event in sent if event["type"].endswith("arguments.done")]
    assert (emit(call(""), result())["arguments"], done) == ("{}", ["{}"])
