"""Converts the body of a request to the arguments of a run. Bad input is a `ValueError` that names the field."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from hostedagent.embed.state import AgentRunArgs
from hostedagent.errors import RequestError
from hostedagent.options import CallerPolicy
from hostedagent.protocol.checks import mapping
from hostedagent.protocol.request.normalization import normalize_body
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.transcript.approvals import Answered
from hostedagent.protocol.transcript.messages import to_messages
from hostedagent.protocol.values import is_array, is_mapping

if TYPE_CHECKING:
    from agent_framework import Content, Message

_PARTS: Final = ("text", "input_text", "input_image", "input_file", "input_audio")
_BODY: Final = "The request body"
_REFERENCE: Final = "item_reference"
_CONTINUES: Final = ("previous_response_id", "conversation", "conversation_id")


def responses_to_run(body: Mapping[str, Any], *, policy: CallerPolicy | None = None) -> AgentRunArgs:
    """The arguments of an agent's run for a create-response body.

    Args:
        body: The body, parsed.
        policy: The fields that the caller may set; by default those of `AgentHost`. Fields without effect are dropped,
            and a field that the policy does not allow is refused.

    Raises:
        ValueError: The body is no object, or a field is malformed or not allowed; the message names it.
    """
    policy = policy or CallerPolicy()
    with _as_value_errors():
        body = mapping(body, _BODY)
        request = TurnRequest.parse(_normalized(body), policy)
        messages = _messages(request, policy, is_whole=not any(body.get(name) for name in _CONTINUES))
    options = dict(request.options.chat)
    if tools := request.options.tools.for_run():
        options["tools"] = tools
    return {"messages": messages, "options": options, "stream": request.stream}


def messages_from_responses_input(value: Any, *, policy: CallerPolicy | None = None) -> list[Message]:
    """The messages of an `input`: a string, or a list of items or of a user message's content parts.

    Raises:
        ValueError: An item is malformed; the message names it.
    """
    policy = policy or CallerPolicy()
    with _as_value_errors():
        return _messages(TurnRequest.parse(_normalized({"input": value}), policy), policy, is_whole=False)


def responses_session_id(body: Mapping[str, Any]) -> tuple[str, bool] | tuple[None, None]:
    """The id that a body continues, and whether it is a conversation's; `(None, None)` for a new conversation.

    Raises:
        ValueError: It is no object, it names both a conversation and a response, or an id is not a string.
    """
    with _as_value_errors():
        body = mapping(body, _BODY)
    found = {name: value for name in _CONTINUES if (value := body.get(name)) not in (None, "")}
    if len(found) > 1:
        raise ValueError(f"{' and '.join(found)} exclude each other: send one of them.")
    for name, value in found.items():
        if is_mapping(value):
            value = value.get("id")
        if not isinstance(value, str) or not value:
            raise ValueError(f"{name} must be a non-empty id, not {value!r}.")
        return value, name != "previous_response_id"
    return None, None


def create_response_id() -> str:
    """A new response id."""
    return f"resp_{secrets.token_hex(16)}"


def create_conversation_id() -> str:
    """A new conversation id."""
    return f"conv_{secrets.token_hex(16)}"


def _messages(request: TurnRequest, policy: CallerPolicy, *, is_whole: bool) -> list[Message]:
    """The messages of a request. The session of a continued one has what it refers to, such as open approvals."""
    kinds = {item["type"] for item in request.input}
    if _REFERENCE in kinds and (is_whole or kinds == {_REFERENCE}):
        raise ValueError(f"An {_REFERENCE} names an item that is not kept here. Send the item.")
    return to_messages(
        (),
        request.input,
        trusts_roles=policy.trusts_roles,
        answered=Answered({answer.id or "": answer for answer in _answers(request)}),
        is_whole=is_whole,
        instructions=request.options.instructions,
        reader=request.reader,
    )


def _answers(request: TurnRequest) -> Iterator[Content]:
    """The answers to approval requests, by which Agent Framework finds the request in the session."""
    for n, item in enumerate(request.input):
        if item["type"] == "mcp_approval_response":
            yield from request.reader.read_input(item, f"input[{n}]")


def _normalized(body: Mapping[str, Any]) -> Mapping[str, Any]:
    given = dict(normalize_body(body, has_nulls=True))
    if (deprecated := given.pop("conversation_id", None)) is not None:
        given.setdefault("conversation", deprecated)
    if is_array(items := given.get("input")):
        given["input"] = list(_in_messages(items))
    return given


def _in_messages(items: Iterable[Any]) -> Iterator[Any]:
    """Items, where content parts that stand without a message around them are one user message."""
    for is_part, run in groupby(items, key=lambda item: is_mapping(item) and item.get("type") in _PARTS):
        if is_part:
            yield {"type": "message", "role": "user", "content": list(run)}
        else:
            yield from run


@contextmanager
def _as_value_errors() -> Generator[None]:
    try:
        yield
    except RequestError as error:
        raise ValueError(error.message) from error
