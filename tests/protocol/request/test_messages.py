"""Items to messages: every transcript that comes out is one that providers accept."""

from collections.abc import Sequence
from typing import Any

import pytest
from agent_framework import Content, Message

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.content.reasoning import seal
from hostedagent.protocol.transcript.messages import check_answers, to_messages
from hostedagent.protocol.transcript.reading import ItemReader

Item = dict[str, Any]
NO_RESULT = "[This call was never answered.]"


def user(text: str) -> Item:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def said(text: str, **more: Any) -> Item:
    content: list[Item] = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "role": "assistant", "id": "msg_1", "content": content, **more}


def thought(**more: Any) -> Item:
    return {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal("sealed", "rs_1_0"), **more}


def call(call_id: str, **more: Any) -> Item:
    return {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": "f", "arguments": "{}", **more}


def output(call_id: str, text: str = "1") -> Item:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def shown(content: Content) -> str:
    match content.type:
        case "function_call":
            return f"->{content.call_id}"
        case "function_result":
            return f"<-{content.call_id}={content.result}"
        case _:
            return content.text or content.type


def lines(history: Sequence[Item], new: Sequence[Item] = (), *, trusts_roles: bool = False) -> list[str]:
    messages = to_messages(history, new, trusts_roles=trusts_roles)
    return [f"{message.role}: {' '.join(map(shown, message.contents))}" for message in messages]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([user("a"), said("b"), user("c")], ["user: a", "assistant: b", "user: c"]),
        ([user("a"), user("a")], ["user: a", "user: a"]),
        ([user("a"), call("1"), output("1"), said("b")],
         ["user: a", "assistant: ->1", "tool: <-1=1", "assistant: b"]),
        ([user("a"), said("x"), call("1"), call("2"), output("1"), output("2")],
         ["user: a", "assistant: x ->1 ->2", "tool: <-1=1 <-2=1"]),
        ([call("1"), call("2"), output("2"), output("1")], ["assistant: ->1 ->2", "tool: <-1=1 <-2=1"]),
        ([call("1"), output("1"), call("2"), output("2")],
         ["assistant: ->1", "tool: <-1=1", "assistant: ->2", "tool: <-2=1"]),
        ([call("1"), user("never mind")], ["assistant: ->1", f"tool: <-1={NO_RESULT}", "user: never mind"]),
        ([call("1"), call("2"), output("2"), user("a")],
         ["assistant: ->1 ->2", f"tool: <-1={NO_RESULT} <-2=1", "user: a"]),
        ([call("1"), user("wait"), output("1")], ["assistant: ->1", "tool: <-1=1", "user: wait"]),
        ([call("1"), output("1", "a"), call("1"), output("1", "b")],
         ["assistant: ->1", "tool: <-1=a", "assistant: ->1_2", "tool: <-1_2=b"]),
        ([call("1"), call("1"), output("1", "b")], ["assistant: ->1", "tool: <-1=b"]),
        ([call("1"), user("wait"), call("1"), output("1", "b")],
         ["assistant: ->1", "tool: <-1=b", "user: wait"]),
        ([call("1"), call("2"), call("1"), call("2"), output("1"), output("2")],
         ["assistant: ->1 ->2", "tool: <-1=1 <-2=1"]),
        ([call("x" * 61), output("x" * 61)], [f"assistant: ->{'x' * 61}", f"tool: <-{'x' * 61}=1"]),
    ],
)  # fmt: skip
def test_calls_and_their_results_stand_together(items: list[Item], expected: list[str]) -> None:
    assert lines(items) == expected
    assert lines([], items) == expected


@pytest.mark.parametrize("call_id", ["x" * 62, "x" * 500, "functions.f:0", "é", "a b"])
def test_ids_that_a_provider_refuses_are_replaced_alike_in_call_and_result(call_id: str) -> None:
    contents = [
        content
        for message in to_messages([call(call_id), output(call_id)], (), trusts_roles=False)
        for content in message.contents
    ]
    first, second = [content.call_id or "" for content in contents]
    assert first == second != call_id
    assert len(first) <= 61 and first.replace("_", "").isalnum() and first.isascii()


def test_an_open_call_comes_again_in_the_input_with_its_arguments_written_otherwise() -> None:
    open_call = {"type": "function_call", "call_id": "1", "name": "f", "arguments": '{"a": 1, "b": 2}'}
    again = {**open_call, "id": "fc_2", "arguments": '{"b":2,"a":1}'}

    assert lines([open_call], [again, output("1", "x")]) == ["assistant: ->1", "tool: <-1=x"]


@pytest.mark.parametrize("change", [{"name": "g"}, {"arguments": '{"a": 2}'}, {"arguments": "no JSON"}])
def test_another_call_with_the_id_of_an_open_call_is_refused(change: dict[str, Any]) -> None:
    open_call = {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}

    with pytest.raises(InvalidRequest, match="another call") as refused:
        lines([open_call], [{**open_call, **change}, output("1")])

    assert refused.value.param == "input[0].call_id"


def test_a_call_id_may_come_again_once_it_was_answered() -> None:
    assert lines([call("1"), output("1", "a"), call("1")], [output("1", "b")])[-1] == "tool: <-1_2=b"


@pytest.mark.parametrize("empty", [said(""), user(""), {**user(""), "content": []}, {**said(""), "content": ""}])
def test_a_message_without_words_is_left_out(empty: Item) -> None:
    assert lines([user("a"), empty, user("b")]) == ["user: a", "user: b"]


def test_a_message_of_nothing_that_clients_send_says_what_was_done() -> None:
    image: Item = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "aGk="}

    assert lines([user("a"), image, user("b")])[1].endswith("[image_generation]")
    assert lines([user("a"), said("c"), image, user("b")])[1].startswith("assistant: c image_generation")
    assert "[" not in lines([user("a"), said("c"), image, user("b")])[1]


def test_a_result_without_a_call_in_the_history_becomes_words() -> None:
    assert lines([output("9", "late"), user("a")]) == ["user: [Output of an unknown call: late]", "user: a"]


def test_half_a_call_in_the_history_is_left_out() -> None:
    assert lines([user("a"), call("1", status="incomplete")], [user("b")]) == ["user: a", "user: b"]


def test_what_cannot_be_read_in_the_history_poisons_nothing() -> None:
    assert lines([{"type": "function_call", "name": 1}, user("a")])[-1] == "user: a"


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_callers_instructions_are_its_own_words_unless_trusted(role: str) -> None:
    item = {**user("Obey."), "role": role}

    assert lines([item], [item]) == ["user: Obey.", "user: Obey."]
    assert lines([item], [item], trusts_roles=True) == ["system: Obey.", "system: Obey."]


@pytest.mark.parametrize(
    ("history", "new", "param"),
    [
        ([], [output("1")], "input[0].call_id"),
        ([call("1")], [user("a"), output("2")], "input[1].call_id"),
        ([call("1"), output("1")], [output("1")], "input[0].call_id"),
        ([], [output("1"), call("1")], "input[0].call_id"),
        ([], [call("1"), output("1"), output("1")], "input[2].call_id"),
    ],
)
def test_a_new_answer_must_fit_an_open_call(history: list[Item], new: list[Item], param: str) -> None:
    for check in (
        lambda: check_answers(history, new, ItemReader()),
        lambda: to_messages(history, new, trusts_roles=False),
    ):
        with pytest.raises(InvalidRequest) as refused:
            check()
        assert refused.value.param == param


def test_an_answer_to_a_call_of_the_history_fits() -> None:
    check_answers([call("1")], [output("1")], ItemReader())

    assert lines([call("1")], [output("1")]) == ["assistant: ->1", "tool: <-1=1"]


def test_every_message_has_an_id_of_its_own() -> None:
    messages: list[Message] = to_messages([user("a"), user("a")], [user("a")], trusts_roles=False)

    assert all(message.message_id for message in messages)
    assert len({message.message_id for message in messages}) == 3


AUTHOR: Item = {"agent_reference": {"type": "agent_reference", "name": "writer"}}


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([thought(**AUTHOR), said("a")], [["text_reasoning", "text"]]),
        ([thought(), said("a", **AUTHOR)], [["text_reasoning", "text"]]),
        ([thought(**AUTHOR), call("1"), output("1")], [["text_reasoning", "function_call"], ["function_result"]]),
        ([said("a"), call("1", **AUTHOR), output("1")], [["text", "function_call"], ["function_result"]]),
    ],
)
def test_an_item_that_a_client_sends_back_without_its_author_follows_what_its_author_said(
    items: list[Item], expected: list[list[str]]
) -> None:
    messages = to_messages([], [user("Hi"), *items, user("And?")], trusts_roles=False)
    assert [[content.type for content in message.contents] for message in messages[1:-1]] == expected


def test_two_authors_are_two_messages() -> None:
    other: Item = {"agent_reference": {"type": "agent_reference", "name": "critic"}}
    messages = to_messages([], [user("Hi"), said("a", **AUTHOR), said("b", **other)], trusts_roles=False)
    assert [message.author_name for message in messages[1:]] == ["writer", "critic"]
