"""What clients leave out, or send as null or empty, means "absent", and items are completed before they are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hostedagent import CallerPolicy, HostOptions, TurnRequest
from hostedagent.protocol.content import BY_ITEM
from hostedagent.protocol.content.reasoning import seal
from hostedagent.protocol.request.body import RequestBody, parse_body
from hostedagent.protocol.request.normalization import ANNOTATION_DEFAULTS, EMPTY_IS_ABSENT, ITEM_DEFAULTS, OPAQUE


def parse(**fields: Any) -> RequestBody:
    return parse_body(json.dumps({"input": "hi", **fields}).encode(), HostOptions())


def parse_item(item: dict[str, Any]) -> dict[str, Any]:
    (found,) = parse(input=[item]).fields["input"]
    return found


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (
            {"role": "assistant", "content": [{"type": "output_text", "text": "a", "logprobs": None, "x": None}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
        ),
        (
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "status": None,
             "namespace": None, "id": None},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        ),
        (
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": None, "status": None},
            {"type": "reasoning", "id": "rs_1", "summary": []},
        ),
        (
            {"type": "mcp_call", "id": "m", "server_label": "s", "name": "f", "arguments": "{}", "error": None,
             "output": None, "approval_request_id": None},
            {"type": "mcp_call", "id": "m", "server_label": "s", "name": "f", "arguments": "{}"},
        ),
        (
            {"role": "user", "content": [{"type": "input_file", "file_data": "aGk=", "file_url": None}]},
            {"type": "message", "role": "user", "content": [{"type": "input_file", "file_data": "aGk="}]},
        ),
        (
            {"role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": [
                {"type": "url_citation", "url": "https://a", "title": None, "start_index": 0, "end_index": 1}]}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": [
                {"type": "url_citation", "url": "https://a", "title": "", "start_index": 0, "end_index": 1}]}]},
        ),
    ],
)  # fmt: skip
def test_a_null_in_an_item_means_absent(item: dict[str, Any], expected: dict[str, Any]) -> None:
    assert parse_item(item) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"text": {"format": None, "verbosity": "low"}}, {"text": {"verbosity": "low"}}),
        ({"agent": {"type": "agent_reference", "name": "a", "version": None}},
         {"agent": {"type": "agent_reference", "name": "a"}}),
        ({"reasoning": {"effort": "low", "summary": None}}, {"reasoning": {"effort": "low"}}),
        ({"tools": [{"type": "function", "name": "f", "strict": None, "description": None}]},
         {"tools": [{"type": "function", "name": "f"}]}),
        ({"temperature": None, "metadata": None}, {}),
    ],
)  # fmt: skip
def test_a_null_in_an_option_means_absent(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert parse(**fields).fields == {"input": "hi", **expected}


@pytest.mark.parametrize("name", sorted(OPAQUE))
def test_a_null_in_a_value_that_is_not_the_hosts_stays(name: str) -> None:
    inner = {name: {"enum": ["a", None], "default": None}}

    assert parse(new=inner).fields["new"] == inner


def test_a_null_element_of_an_array_stays_and_is_refused_where_it_is_read() -> None:
    assert parse(include=[None]).fields["include"] == [None]


@pytest.mark.parametrize(("name", "empty"), EMPTY_IS_ABSENT.items())
def test_an_empty_option_means_absent(name: str, empty: Any) -> None:
    body = parse(**{name: empty})

    assert body.fields == {"input": "hi"}
    assert TurnRequest.parse(body.fields, CallerPolicy()).options.chat == {}


@pytest.mark.parametrize("kind", ITEM_DEFAULTS)
def test_an_item_gets_the_fields_that_its_type_requires(kind: str) -> None:
    first, second = parse(input=[{"type": kind, "text": "x"}] * 2).fields["input"]

    assert set(ITEM_DEFAULTS[kind]) <= set(first)
    assert ("id" in ITEM_DEFAULTS[kind]) == (first.get("id") != second.get("id"))
    assert kind in BY_ITEM


def test_a_field_that_is_there_is_not_replaced_by_a_default() -> None:
    item = {"type": "web_search_call", "id": "w", "status": "failed", "action": {"type": "open_page", "url": "u"}}

    assert parse_item(item) == item


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"id": "msg_1"}, "item_reference"),
        ({"type": "image_generation_call", "id": "ig_1"}, "item_reference"),
        ({"role": "user", "content": "hi"}, "message"),
        ({"type": "image_generation_call", "id": "ig_1", "result": "AAAA"}, "image_generation_call"),
        ({"type": "mcp_call", "id": "mcp_1"}, "mcp_call"),
    ],
)
def test_an_item_is_what_its_fields_say(item: dict[str, Any], expected: str) -> None:
    assert parse_item(item)["type"] == expected


def test_the_error_of_a_tool_as_text_becomes_the_object_of_the_schema() -> None:
    item = {"type": "mcp_call", "id": "m", "server_label": "s", "name": "f", "arguments": "{}", "error": "gone"}

    assert parse_item(item)["error"] == {"type": "mcp_tool_execution_error", "content": "gone"}


def test_a_caller_cannot_speak_for_the_hosts_memory() -> None:
    item = {"role": "user", "content": "hi", "internal_metadata": {"hostedagent": {"call_id": "c"}}}

    assert "internal_metadata" not in parse_item(item)


def test_an_encrypted_form_with_the_id_that_belongs_to_it_stays() -> None:
    item = parse_item({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "blob of a service"})

    assert item["encrypted_content"] == "blob of a service"


@pytest.mark.parametrize(("encrypted", "stays"), [("blob of a service", False), (seal("blob", "rs_p"), True)])
def test_an_encrypted_form_without_an_id_stays_when_it_carries_one(encrypted: str, stays: bool) -> None:
    item = parse_item({"type": "reasoning", "summary": [], "encrypted_content": encrypted})

    assert ("encrypted_content" in item) is stays
    assert item["id"].startswith("rs_")


def test_a_body_in_which_nothing_is_missing_is_handed_on_as_it_came() -> None:
    data = json.dumps({"input": [{"type": "message", "role": "user", "content": "hi"}], "store": False}).encode()

    assert parse_body(data, HostOptions()).raw is data
    assert parse(input=[{"role": "user", "content": "hi"}]).raw is None


def test_what_an_annotation_leaves_out_is_nothing_at_the_beginning() -> None:
    assert ANNOTATION_DEFAULTS == {
        "url_citation": {"title": "", "start_index": 0, "end_index": 0},
        "file_citation": {"filename": "", "index": 0},
        "file_path": {"index": 0},
        "container_file_citation": {"filename": "", "start_index": 0, "end_index": 0},
    }
