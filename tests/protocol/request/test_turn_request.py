"""`TurnRequest`: what a body says, read once at the door."""

from typing import Any

import pytest

from hostedagent import CallerPolicy, TurnRequest
from hostedagent.errors import InvalidRequest
from hostedagent.protocol.ids import chain_of


def parse(**body: Any) -> TurnRequest:
    return TurnRequest.parse({"input": "hi", **body}, CallerPolicy())


def test_a_text_is_one_message_of_the_user() -> None:
    assert parse().input == (
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
    )  # fmt: skip


def test_what_is_not_said_is_what_the_protocol_says() -> None:
    request = parse()

    assert (request.stream, request.store, request.background) == (False, True, False)
    assert (request.previous_response_id, request.conversation_id, request.user) == (None, None, None)
    assert request.metadata == {}


@pytest.mark.parametrize("value", ["conv_1", {"id": "conv_1"}])
def test_a_conversation_has_two_forms(value: Any) -> None:
    assert parse(conversation=value).conversation_id == "conv_1"


@pytest.mark.parametrize("value", ["x" * 257, "conv\n1", "conv\x1b", {"id": "x" * 257}])
def test_a_conversation_id_is_short_and_printable(value: Any) -> None:
    with pytest.raises(InvalidRequest) as error:
        parse(conversation=value)
    assert error.value.param == "conversation"


@pytest.mark.parametrize("name", ["stream", "store", "background"])
def test_null_is_as_good_as_nothing(name: str) -> None:
    assert parse(**{name: None}) == parse()


def test_a_caller_cannot_continue_two_things() -> None:
    with pytest.raises(InvalidRequest, match="exclude each other"):
        parse(previous_response_id="caresp_1", conversation="conv_1")


def test_metadata_at_its_limits_is_taken() -> None:
    metadata = {f"{'k' * 62}{n:02}": "v" * 512 for n in range(16)}

    assert parse(metadata=metadata).metadata == metadata


@pytest.mark.parametrize(
    "metadata",
    [{"k": "v" * 513}, {"k" * 65: "v"}, {str(n): "v" for n in range(17)}],
    ids=["a long value", "a long key", "many pairs"],
)
def test_metadata_beyond_its_limits_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="metadata"):
        parse(metadata=metadata)


@pytest.mark.parametrize("value", ["", [], None])
def test_a_request_without_input_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest):
        parse(input=value)


def test_a_request_that_an_application_makes_is_an_ordinary_one() -> None:
    request = TurnRequest(input=())

    assert (request.stream, request.store, request.background, request.generates) == (False, True, False, True)
    assert (request.previous_response_id, request.conversation_id, request.history) == (None, None, None)
    assert (request.door, request.response_id, request.state, dict(request.metadata)) == ("responses", "", None, {})


def test_the_body_is_not_changed() -> None:
    body: dict[str, Any] = {"input": [{"type": "message", "role": "user", "content": "hi"}], "tools": [], "text": {}}
    before = repr(body)

    TurnRequest.parse(body, CallerPolicy())

    assert repr(body) == before


def test_the_id_of_a_response_shares_its_chain_with_the_response_before_it() -> None:
    before = parse().named().response_id
    assert chain_of(parse(previous_response_id=before).named().response_id) == chain_of(before)
    assert chain_of(parse(conversation=before).named().response_id) == chain_of(before)
    assert chain_of(parse().named().response_id) != chain_of(before)
