"""Types of answers: written down, found again, and what is made of an answer whose type is not known."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from agent_framework import Content, Message
from agent_framework.orchestrations import AgentRequestInfoResponse

from hostedagent.agents.workflow_types import answer_schema, coerce, describe, resolve
from hostedagent.conversation.workflow_responses import is_question
from tests.workflows.flows import City, Point

PARAM = "input[0].output"


@pytest.mark.parametrize(
    "kind",
    [int, str, Point, City, list[str], list[Point], dict[str, int], int | None, list[Message] | None, Message, Content],
    ids=str,
)
def test_a_type_is_found_again_from_its_description(kind: Any) -> None:
    assert resolve(describe(kind)) == kind


def test_a_type_of_a_module_that_is_not_loaded_is_not_known_and_not_imported() -> None:
    import sys

    assert resolve({"type": "antigravity:Force"}) is None
    assert resolve({"type": "builtins:list", "of": [{"type": "gone:Type"}]}) is None
    assert "antigravity" not in sys.modules


def test_only_types_are_found() -> None:
    assert resolve({"type": "os:system"}) is None
    assert resolve({"type": "builtins:eval"}) is None


@pytest.mark.parametrize("kind", [Literal["a"], type("Local", (), {"__qualname__": "f.<locals>.Local"})], ids=str)
def test_what_cannot_be_written_down_is_left_out(kind: Any) -> None:
    assert describe(kind) is None


@pytest.mark.parametrize(("text", "value"), [('{"a": 1}', {"a": 1}), ("5", 5), ("words", "words")])
def test_an_answer_of_an_unknown_type_is_json_or_text(text: str, value: Any) -> None:
    assert coerce(None, text, PARAM) == value


def test_messages_are_texts_on_the_wire() -> None:
    (one,) = coerce(list[Message], "hello", PARAM)
    assert (one.role, one.text) == ("user", "hello")
    assert [message.text for message in coerce(list[Message], '["a", "b"]', PARAM)] == ["a", "b"]
    assert coerce(list[Message], "[]", PARAM) == []
    assert coerce(Content, "hello", PARAM).text == "hello"
    assert [row.text for row in coerce(AgentRequestInfoResponse, '{"messages": ["a"]}', PARAM).messages] == ["a"]
    assert answer_schema(list[Message]) == {"type": "array", "items": {"type": "string"}}


@pytest.mark.parametrize(
    ("arguments", "asks"),
    [
        ('{"request": "Sure?", "response_schema": {"type": "boolean"}}', True),
        ('{"request": "Sure?", "response_schema": ', False),
        ('["response_schema"]', False),
        ('{"response_schema": {}}', False),
    ],
)
def test_a_call_is_a_question_when_its_arguments_are_a_request_with_the_schema_of_its_answer(
    arguments: str, asks: bool
) -> None:
    assert is_question({"type": "function_call", "call_id": "c", "name": "f", "arguments": arguments}) is asks
