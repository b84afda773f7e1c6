"""The fields of the default shape of invocations, and the OpenAPI and AsyncAPI documents that describe it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hostedagent.protocol.types import Json

_TEXT, _NUMBER, _FLAG, _OBJECT = ({"type": kind} for kind in ("string", "number", "boolean", "object"))

OPTIONS: Final[Mapping[str, Json]] = {
    **dict.fromkeys(("temperature", "top_p", "max_output_tokens"), _NUMBER),
    **{"text": _OBJECT, "tool_choice": {}, "parallel_tool_calls": _FLAG, "reasoning": _OBJECT},
}
"""The options of an invocation, with their schemas."""

SENT: Final[Mapping[str, Json]] = {"conversation": _TEXT, "stream": _FLAG, "background": _FLAG, "metadata": _OBJECT}
"""The fields that an invocation has in common with a create-response request, with their schemas."""

FIELDS: Final[Mapping[str, Json]] = {"input": {}, "message": {}, **SENT, "options": _OBJECT, "responses": _OBJECT}
"""The fields of an invocation, with their schemas."""


def _object(**properties: Json) -> dict[str, Json]:
    return {"type": "object", "properties": properties}


_INVOCATION: Final = _object(**{**FIELDS, "options": _object(**OPTIONS)})
_QUESTION: Final[Mapping[str, Json]] = {"id": _TEXT, "kind": _TEXT, "name": _TEXT, "arguments": _TEXT}
_QUESTIONS: Final = {"type": "array", "items": _object(**_QUESTION)}
_END: Final[Mapping[str, Json]] = {"status": _TEXT, "response_id": _TEXT}
_ANSWER: Final = _object(response=_TEXT, questions=_QUESTIONS, conversation=_TEXT, **_END)
_EVENTS: Final[Mapping[str, Mapping[str, Json]]] = {
    "delta": {"text": _TEXT},
    "question": _QUESTION,
    "done": {**_END, "session_id": _TEXT},
    "error": {"message": _TEXT, "code": _TEXT, "status": _NUMBER, "param": _TEXT},
}
_POST: Final[Mapping[str, Json]] = {
    "summary": "Invoke the agent: whole, streamed or in the background",
    "parameters": [{"name": "agent_session_id", "in": "query", "schema": _TEXT}],
    "requestBody": {"required": True, "content": {"application/json": {"schema": _INVOCATION}}},
    "responses": {
        "200": {
            "description": "The answer",
            "content": {"application/json": {"schema": _ANSWER}, "text/event-stream": {"schema": _TEXT}},
        }
    },
}
_INFO: Final[Mapping[str, Json]] = {"title": "Invocations", "version": "1"}
_CHANNEL: Final = "#/channels/invocations"
_MESSAGES: Final = {
    "invocation": {"payload": _INVOCATION},
    **{kind: {"payload": _object(type={"const": kind}, **fields)} for kind, fields in _EVENTS.items()},
}


def _operation(action: str, *messages: str) -> dict[str, Json]:
    references = [{"$ref": f"{_CHANNEL}/messages/{name}"} for name in messages]
    return {"action": action, "channel": {"$ref": _CHANNEL}, "messages": references}


OPENAPI: Final[Mapping[str, Json]] = {"openapi": "3.1.0", "info": _INFO, "paths": {"/invocations": {"post": _POST}}}
"""The OpenAPI document of `/invocations`."""

ASYNCAPI: Final[Mapping[str, Json]] = {
    "asyncapi": "3.0.0",
    "info": _INFO,
    "channels": {"invocations": {"address": "/invocations_ws", "messages": _MESSAGES}},
    "operations": {"invoke": _operation("receive", "invocation"), "answer": _operation("send", *_EVENTS)},
}
"""The AsyncAPI document of `/invocations_ws`."""
