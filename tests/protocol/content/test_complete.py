"""The content table is complete: what Agent Framework and the SDK can say has a row, or a reason why it has none."""

from __future__ import annotations

from collections import Counter
from typing import Literal, cast, get_args, get_origin, get_type_hints

import pytest
from agent_framework import Content
from azure.ai.agentserver.responses import models
from openai.types.responses.response_input_item_param import ResponseInputItemParam

from hostedagent.protocol.content import BY_CONTENT, BY_ITEM, CODECS, NOT_ITEMS, Codec
from tests.protocol.content.harness import project

CONTENT_TYPES: frozenset[str] = frozenset(get_args(get_type_hints(Content.__init__)["type"]))
UNIONS = ("Item", "OutputItem", "ItemField")
LITERALS = ("ItemType", "OutputItemType", "ItemFieldType")


def union_types(name: str) -> set[str]:
    """The `type` of every member of one of the SDK's public unions of items."""
    members = get_args(getattr(models, name))
    return {get_type_hints(member)["type"].__args__[0] for member in members}


SDK_TYPES: frozenset[str] = frozenset(
    kind
    for kinds in (*map(union_types, UNIONS), *(get_args(getattr(models, name)) for name in LITERALS))
    for kind in cast("set[str]", kinds)
)
CLIENT_TYPES: frozenset[str] = frozenset(
    get_args(hints["type"])[0]
    for kind in get_args(ResponseInputItemParam)
    if get_origin((hints := get_type_hints(kind))["type"]) is Literal
)
ITEM_TYPES = SDK_TYPES | CLIENT_TYPES

every_codec = pytest.mark.parametrize("codec", CODECS, ids=[codec.family for codec in CODECS])


def test_the_lists_to_compare_with_are_not_empty() -> None:
    assert {"text", "function_call", "oauth_consent_request"} <= CONTENT_TYPES
    assert {"message", "output_message", "workflow_action", "program", "item_reference"} <= SDK_TYPES
    assert {"reasoning", "mcp_call", "configuration_update"} <= CLIENT_TYPES


def test_every_content_type_of_agent_framework_has_a_row() -> None:
    assert CONTENT_TYPES - BY_CONTENT.keys() == set()


def test_every_item_type_of_the_sdk_and_of_clients_has_a_row_or_a_reason() -> None:
    assert ITEM_TYPES - BY_ITEM.keys() - NOT_ITEMS.keys() == set()
    assert BY_ITEM.keys() & NOT_ITEMS.keys() == set()


def test_no_row_names_a_type_that_does_not_exist() -> None:
    assert BY_CONTENT.keys() - CONTENT_TYPES == set()
    assert (BY_ITEM.keys() | NOT_ITEMS.keys()) - ITEM_TYPES == set()


def test_no_type_has_two_rows() -> None:
    names = [("content", kind) for codec in CODECS for kind in codec.content_types]
    names += [("item", kind) for codec in CODECS for kind in codec.item_types]
    names += [("family", codec.family) for codec in CODECS]
    assert [name for name, count in Counter(names).items() if count > 1] == []


@every_codec
def test_a_row_has_each_direction_or_says_why_not(codec: Codec) -> None:
    has = {"read": codec.read is not None, "emit": codec.open is not None}
    for direction, is_there in has.items():
        assert is_there != bool(codec.absent.get(direction)), direction
    assert codec.absent.keys() <= {"read", "emit", "stream"}
    assert has["emit"] or codec.absent.get("stream"), "what is never sent does not stream"


@every_codec
def test_a_row_that_has_types_can_do_something_with_them(codec: Codec) -> None:
    assert bool(codec.item_types) == (codec.read is not None)
    assert bool(codec.content_types) == (codec.open is not None or codec.effect is not None)


@every_codec
def test_what_a_row_tells_users_is_in_sentences(codec: Codec) -> None:
    for sentence in (*codec.limits, *codec.absent.values()):
        assert sentence[0].isupper() or sentence[0] == "`"
        assert sentence.endswith(".")


@every_codec
def test_a_family_has_a_file_and_tests_of_its_name(codec: Codec) -> None:
    __import__(f"hostedagent.protocol.content.{codec.family}")
    __import__(f"tests.protocol.content.test_{codec.family}")


IDS: list[tuple[Content, str]] = [
    (Content.from_text("hi"), "msg_"),
    (Content.from_text_reasoning(text="so"), "rs_"),
    (Content.from_search_tool_call("1", tool_name="web_search"), "ws_"),
    (Content.from_search_tool_call("1", tool_name="file_search"), "fs_"),
    (Content.from_code_interpreter_tool_call(call_id="1"), "ci_"),
    (Content.from_image_generation_tool_call(image_id="1"), "ig_"),
    (Content.from_mcp_server_tool_call("1", "f", server_name="s"), "mcp_"),
]


@pytest.mark.parametrize(("content", "prefix"), IDS, ids=[prefix for _, prefix in IDS])
def test_the_id_of_an_item_begins_as_clients_know_it(content: Content, prefix: str) -> None:
    assert [str(item["id"]).partition("_")[0] + "_" for item in project([content]).items] == [prefix]
