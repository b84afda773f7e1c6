"""Matches a request with the pending requests of a workflow, before the first byte.

A workflow with pending requests accepts answers, not new input. A request without an answer is refused with the names
of the pending requests, and so is an answer of the wrong type; neither changes anything. One exception: if a single
request expects text, a plain message answers it, as in any chat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hostedagent.agents.workflow_types import TEXTS, coerce, resolve
from hostedagent.errors import InvalidRequest
from hostedagent.protocol.json import decode_text
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.transcript.reading import ItemReader
from hostedagent.protocol.types import Item, Json, is_call_output
from hostedagent.protocol.values import fields_of, rows_of
from hostedagent.stores.approvals import ApprovalDecision
from hostedagent.stores.checkpoints import OpenRequest, WorkflowState


def read_responses(
    request: TurnRequest, state: WorkflowState | None, answers: Sequence[ApprovalDecision], *, first: int = 0
) -> dict[str, Any]:
    """The answers in a request, by the workflow's request ids, without approvals.

    Args:
        state: The state of the workflow; `None` if the turn continues no workflow.
        first: The index of the first new input item.

    Raises:
        InvalidRequest: The input does not answer the pending requests; `param` names the field.
    """
    if state is None or not state.requests:
        return {}
    items = list(enumerate(request.input))[first:]
    responses: dict[str, Any] = {}
    for n, item in items:
        if "call_id" not in item or not is_call_output(item):
            continue
        open_request = state.requests.get(str(item["call_id"]))
        param = f"input[{n}].call_id"
        if open_request is None:
            raise InvalidRequest(
                f"{param} {item['call_id']!r} answers nothing that is open. {_open(state)}", param=param
            )
        if open_request.request_id in responses:
            raise InvalidRequest(f"{param} {item['call_id']!r} is answered twice.", param=param)
        responses[open_request.request_id] = _response(open_request, item, f"input[{n}]", request.reader)
    said = [(n, item) for n, item in items if item.get("type") == "message" and item.get("role") != "assistant"]
    if not responses and not answers:
        return _plain_answer(state.requests, said, state)
    if said:
        param = f"input[{said[0][0]}]"
        raise InvalidRequest(f"{param}: the workflow waits for answers; send them without messages.", param=param)
    return responses


def check_transcript(request: TurnRequest, *, first: int) -> None:
    """Check that a transcript does not answer a workflow's request, because the workflow could not be found.

    Args:
        request: A request that names neither a response nor a conversation.
        first: The index of the first new input item.

    Raises:
        InvalidRequest: It answers one; the workflow would start anew, without input.
    """
    asked = {item.get("call_id"): item for item in request.input if is_question(item)}
    if not asked:
        return
    for n, item in enumerate(request.input[first:], start=first):
        if item.get("type") == "function_call_output" and item.get("call_id") in asked:
            raise _answered_in_transcript(f"input[{n}].call_id", item["call_id"])
    *before, last = (item for item in request.input[:first] if item.get("type") == "function_call")
    answered = {item.get("call_id") for item in request.input if is_call_output(item)}
    is_alone = all(row.get("call_id") in answered for row in before)
    if not is_alone or request.input[first - 1] is not last or len(request.input) == first:
        return
    if is_question(last) and _schema(last).get("type") == "string":  # The message after it would be the answer.
        raise _answered_in_transcript(f"input[{first}]", last["call_id"])


def _answered_in_transcript(param: str, call_id: object) -> InvalidRequest:
    return InvalidRequest(
        f"{param} answers the question {call_id!r} of a workflow, which continues only where it asked. Send the answer "
        "alone, with previous_response_id set to the response that asked, or in its conversation.",
        param=param,
    )


def is_question(item: Item) -> bool:
    """Whether an item is a workflow's request: a function call with a request and an answer schema as arguments."""
    if item.get("type") != "function_call" or '"response_schema"' not in str(item.get("arguments")):
        return False
    try:
        arguments = decode_text(item["arguments"])
    except ValueError:
        return False
    return set(fields_of(arguments)) == {"request", "response_schema"}


def _schema(question: Item) -> Mapping[str, Json]:
    return fields_of(decode_text(question["arguments"])["response_schema"])


def _response(request: OpenRequest, item: Item, param: str, reader: ItemReader) -> Any:
    if request.kind == "info":
        return coerce(resolve(request.answer), item.get("output"), f"{param}.output")
    return reader.read_input(item, param)[0]


def _plain_answer(
    requests: Mapping[str, OpenRequest], said: Sequence[tuple[int, Item]], state: WorkflowState
) -> dict[str, Any]:
    only = next(iter(requests.values()))
    kind = resolve(only.answer)
    if len(requests) > 1 or only.kind != "info" or kind not in TEXTS or not said:
        raise InvalidRequest(f"input: the workflow waits for answers. {_open(state)}", param="input")
    texts = [_text(item.get("content"), f"input[{n}].content") for n, item in said]
    return {only.request_id: coerce(kind, "\n".join(texts), f"input[{said[0][0]}].content")}


def _text(content: Any, param: str) -> str:
    if isinstance(content, str):
        return content
    parts = rows_of(content)
    if any(not isinstance(part.get("text"), str) for part in parts):
        raise InvalidRequest(f"{param}: the workflow expects text.", param=param)
    return "".join(part["text"] for part in parts)


def _open(state: WorkflowState) -> str:
    names = ", ".join(
        f"{request.name} ({'approval_request_id' if request.kind == 'approval' else 'call_id'} {wire_id!r})"
        for wire_id, request in state.requests.items()
    )
    return f"Open: {names}."
