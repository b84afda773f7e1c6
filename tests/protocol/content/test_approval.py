"""Approvals: a question is recorded before it leaves, and is read back as the question that Agent Framework asked."""

from __future__ import annotations

from typing import Any

import pytest
from agent_framework import Content, Message
from hypothesis import given
from hypothesis import strategies as st

from hostedagent.errors import InvalidRequest
from hostedagent.outcomes import Failed
from hostedagent.protocol.content import Output
from hostedagent.protocol.stream.builder import Projection
from hostedagent.protocol.stream.response import ResponseBuilder
from hostedagent.protocol.types import ApprovalRequest, EndTurn, SaveApproval
from hostedagent.protocol.wire import wire_json
from tests.clients.upstream import Text, Upstream, responses_client
from tests.protocol.content.harness import RESPONSE_ID, project, read, update
from tests.protocol.content.wire import again, bare, emit, lines, log


def call(name: str = "pay", arguments: Any = '{"n":1}', **fields: Any) -> Content:
    known: dict[str, Any] = {"id": "af-call-1", **fields}
    return Content.from_function_call("call_1", name, arguments=arguments, **known)


def question(function_call: Content | None = None) -> Content:
    asked = function_call or call()
    return Content.from_function_approval_request(asked.id or "mcpr_p", asked)


def hosted_question() -> Content:
    return question(call(id=None, hosted=True, server_name="docs"))


def item(**fields: Any) -> dict[str, Any]:
    return {"type": "mcp_approval_request", "server_label": "agent", "name": "pay", "arguments": '{"n":1}', **fields}


def answer(**fields: Any) -> dict[str, Any]:
    return {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True, **fields}


def test_a_question_of_a_caller_is_read_with_the_id_it_has_there() -> None:
    (content,) = read(item(id="mcpr_1"))
    asked = content.function_call
    assert asked is not None
    assert (content.type, content.id, content.user_input_request) == ("function_approval_request", "mcpr_1", True)
    assert (asked.id, asked.name, asked.arguments, asked.hosted) == ("mcpr_1", "pay", '{"n":1}', False)


def test_a_question_of_another_server_is_one_of_the_provider() -> None:
    (content,) = read(item(id="mcpr_1", server_label="docs"))
    assert content.function_call is not None
    assert (content.function_call.hosted, content.function_call.server_name) == (True, "docs")


@pytest.mark.parametrize("asked", [question(), hosted_question()], ids=["local", "of the provider"])
def test_a_stored_question_is_read_as_it_was_asked(asked: Content) -> None:
    (stored,) = project([asked]).items
    (content,) = read(stored)
    before, after = asked.function_call, content.function_call
    assert before is not None and after is not None
    assert content.id == asked.id != stored["id"]
    fields = ("id", "call_id", "name", "arguments", "hosted", "server_name")
    assert [getattr(after, name) for name in fields] == [getattr(before, name) for name in fields]


@pytest.mark.parametrize(("approve", "reason"), [(True, None), (False, "too dear"), (False, None)])
def test_an_answer_is_read_with_its_reason(approve: bool, reason: str | None) -> None:
    (content,) = read(answer(approve=approve, reason=reason))
    assert (content.type, content.id, content.approved) == ("function_approval_response", "mcpr_1", approve)
    assert content.additional_properties.get("hostedagent", {}).get("reason") == reason


@pytest.mark.parametrize(
    ("wire", "param"),
    [
        (answer(approve="true"), "approve"),
        (answer(approve=1), "approve"),
        (answer(approve=None), "approve"),
        (answer(approval_request_id=""), "approval_request_id"),
        (answer(reason=3), "reason"),
        (item(id="m", name=""), "name"),
        (item(id="m", arguments={}), "arguments"),
        (item(id="m", server_label=None), "server_label"),
        (item(), "id"),
    ],
)
def test_a_malformed_item_is_refused_with_the_place(wire: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(wire)
    assert refused.value.param == param


EMIT = [
    pytest.param(question(), item(), id="local"),
    pytest.param(hosted_question(), item(server_label="docs"), id="of the provider"),
    pytest.param(question(call(id=None, hosted=True)), item(server_label="provider"), id="of an unnamed server"),
    pytest.param(question(call(arguments={"n": 1})), item(arguments='{"n": 1}'), id="a mapping"),
    pytest.param(question(call(arguments=None)), item(arguments="{}"), id="no arguments"),
    pytest.param(Content("function_approval_response", id="mcpr_1", approved=True), answer(), id="an answer"),
]


@pytest.mark.parametrize(("content", "expected"), EMIT)
def test_questions_and_answers_are_items(content: Content, expected: dict[str, Any]) -> None:
    assert emit(content) == expected


def test_a_question_is_recorded_before_anything_of_it_leaves() -> None:
    builder = ResponseBuilder(RESPONSE_ID)
    emissions = list(Projection(Output(builder)).update(update(question())))
    record, added, done = emissions
    assert isinstance(record, SaveApproval) and isinstance(added, dict) and isinstance(done, dict)
    assert record == SaveApproval(added["item"]["id"], ApprovalRequest("af-call-1", "call_1", "pay", '{"n":1}'))


def test_a_question_comes_whole() -> None:
    assert lines(question()) == [
        "item+ 0 mcp_approval_request agent pay",
        "item- 0 mcp_approval_request agent pay",
    ]


def test_what_clients_see_does_not_tell_the_ids_of_agent_framework() -> None:
    projected = project([question()])
    assert "af-call-1" not in str([bare(event.get("item", {})) for event in projected.events])


def test_the_question_takes_the_place_of_the_call_that_was_held_back() -> None:
    projected = project([call(), question()], held_calls=frozenset({"pay"}))
    log(projected)
    assert [row["type"] for row in projected.items] == ["mcp_approval_request"]


def test_two_questions_are_two_items_and_a_repeat_is_dropped() -> None:
    asked = [question(), question(call("ship", id="af-call-2")), question()]
    projected = project(asked)
    assert [row["name"] for row in projected.items] == ["pay", "ship"]
    assert len({row["id"] for row in projected.items}) == len(projected.effects) == 2


@pytest.mark.parametrize("content", [Content("function_approval_request", id="a"), question(call(""))])
def test_a_question_that_nobody_could_answer_fails_the_turn(content: Content) -> None:
    projected = project([content])
    assert projected.items == []
    assert [type(effect) for effect in projected.effects] == [EndTurn]
    assert isinstance(projected.effects[0], EndTurn) and isinstance(projected.effects[0].outcome, Failed)


@pytest.mark.parametrize("wire", [item(), item(server_label="docs"), answer(), answer(approve=False, reason="no")])
def test_an_item_that_was_read_and_sent_is_the_same(wire: dict[str, Any]) -> None:
    given_id = {"id": "mcpr_1"} if wire["type"] == "mcp_approval_request" else {}
    assert again({**wire, **given_id}) == wire


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(NAMES, st.dictionaries(TEXTS, TEXTS).map(wire_json), NAMES)
def test_any_question_survives_the_round_trip(name: str, arguments: str, server: str) -> None:
    wire = item(name=name, arguments=arguments, server_label=server)
    assert again({**wire, "id": "mcpr_1"}) == wire


async def test_the_provider_sees_its_own_question_again() -> None:
    (stored,) = project([hosted_question()]).items
    (theirs,) = read(stored)
    (response,) = read(answer(approval_request_id=stored["id"]))
    response.id, response.function_call = theirs.id, theirs.function_call
    async with Upstream() as upstream:
        upstream.script(Text("ok"))
        messages = [Message("user", ["pay"]), Message("assistant", [theirs]), Message("user", [response])]
        await responses_client(upstream).get_response(messages, options={"store": False})
    _, asked, answered = upstream.requests[0]["input"]
    assert asked == {**item(server_label="docs"), "id": "mcpr_p"}
    assert answered == answer(approval_request_id="mcpr_p")


@pytest.mark.parametrize("arguments", ["", None, {}, "{}"])
def test_a_question_without_arguments_has_an_empty_object(arguments: Any) -> None:
    assert emit(question(call(arguments=arguments)))["arguments"] == "{}"


@pytest.mark.parametrize("arguments", ['{"n": ', "n=1", '{"n": 1}}'])
def test_a_call_whose_arguments_are_not_whole_is_not_asked_about(arguments: str) -> None:
    projected = project([question(call(arguments=arguments))])

    assert projected.items == []
    assert [type(effect) for effect in projected.effects] == [EndTurn]
