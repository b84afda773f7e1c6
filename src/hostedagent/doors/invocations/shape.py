"""The default shape of invocations. An application may have its own `parse`, `answer` and `render` instead."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

from hostedagent.doors.invocations.documents import FIELDS, OPTIONS, SENT
from hostedagent.doors.questions import answer_item, failure_of, open_questions, shown_question, text_of
from hostedagent.errors import InvalidRequest, RequestError
from hostedagent.failures import TurnFailed
from hostedagent.protocol.checks import mapping
from hostedagent.protocol.json import encode
from hostedagent.protocol.sse import event_data, write_frame
from hostedagent.protocol.types import Json
from hostedagent.protocol.values import fields_of, is_array, is_object
from hostedagent.server.turn import Turn

_RENAMED: Final = {"max_tokens": "max_output_tokens", "allow_multiple_tool_calls": "parallel_tool_calls"}
"""Agent Framework's names of options, which are accepted too."""


def default_body(fields: Mapping[str, Json]) -> Mapping[str, Any]:
    """The create-response body of an invocation.

    Raises:
        InvalidRequest: A field is unknown, missing or malformed.
    """
    if unknown := [name for name in fields if name not in FIELDS]:
        message = f"{unknown[0]!r:.80} is not a field of an invocation: {', '.join(FIELDS)}."
        raise InvalidRequest(message, param=unknown[0])
    options = {_RENAMED.get(name, name): value for name, value in mapping(fields.get("options", {}), "options").items()}
    if refused := [name for name in options if name not in OPTIONS]:
        param = f"options.{refused[0]}"
        raise InvalidRequest(f"{param:.80} is not an option of an invocation: {', '.join(OPTIONS)}.", param=param)
    return {**options, **{name: fields[name] for name in SENT if name in fields}, "input": _input(fields)}


def _input(fields: Mapping[str, Json]) -> Json:
    answers = [answer_item(name, reply) for name, reply in mapping(fields.get("responses", {}), "responses").items()]
    given = fields.get("input", fields.get("message"))
    if given is None and not answers:
        message = "input is missing: send text, items, or the value that a workflow starts with."
        raise InvalidRequest(message, param="input")
    if given is None or (is_array(given) and all(is_object(row) and ("type" in row or "role" in row) for row in given)):
        return [*answers, *(given or ())]
    text = given if isinstance(given, str) else encode(given).decode()
    return [*answers, {"type": "message", "role": "user", "content": text}] if answers else text


def default_answer(response: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body of a whole answer."""
    return {
        "response": text_of(response),
        "status": response["status"],
        "questions": [shown_question(item) for item in open_questions(response["output"])],
        "response_id": response["id"],
        "conversation": fields_of(response.get("conversation")).get("id"),
        **({"error": response["error"]} if response.get("error") else {}),
    }


async def default_frames(turn: Turn) -> AsyncGenerator[bytes]:
    """The frames of a stream."""
    async with aclosing(default_events(turn)) as events:
        async for event in events:
            yield write_frame(event.pop("type"), event_data(event))


async def default_events(turn: Turn) -> AsyncGenerator[dict[str, Json]]:
    """The events of a stream: `delta` with `text`, `question`, and `done` or `error`."""
    response: Mapping[str, Json] = {}
    async with aclosing(turn.events()) as events:
        async for event in events:
            response = event.get("response", response)
            if event["type"] in ("response.output_text.delta", "response.refusal.delta"):
                yield {"type": "delta", "text": event["delta"]}
    if (failed := failure_of(response)) is not None:
        yield error_event(TurnFailed(failed))
        return
    for item in open_questions(response["output"]):
        yield {"type": "question", **shown_question(item)}
    end = {"status": response["status"], "response_id": response["id"]}
    yield {"type": "done", "session_id": turn.request.sandbox_session_id, **end}


def error_event(error: RequestError) -> dict[str, Json]:
    """The event that reports an error."""
    return {"type": "error", "message": error.message, "code": error.code, "status": error.status, "param": error.param}
