"""The default shape of invocations: its fields, and the OpenAPI and AsyncAPI documents that describe it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hostedagent.protocol.types import Json

_TEXT: Final[Mapping[str, Json]] = {"type": "string"}
_NUMBER: Final[Mapping[str, Json]] = {"type": "number"}
_FLAG: Final[Mapping[str, Json]] = {"type": "boolean"}
_OBJECT: Final[Mapping[str, Json]] = {"type": "object"}

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
_QUESTION: Final = _object(id=_TEXT, kind=_TEXT, name=_TEXT, arguments=_TEXT)
_ANSWER: Final = _object(
    response=_TEXT, status=_TEXT, questions={"type": "array", "items": _QUESTION}, response_id=_TEXT, conversation=_TEXT
)
_EVENTS: Final[Mapping[str, Json]] = {
    "delta": _object(text=_TEXT),
    "question": _QUESTION,
    "done": _object(status=_TEXT, session_id=_TEXT, response_id=_TEXT),
    "error": _object(message=_TEXT, code=_TEXT, status=_NUMBER, param=_TEXT),
}
_CONTENT: Final = {"application/json": {"schema": _ANSWER}, "text/event-stream": {"schema": _TEXT}}
_INFO: Final[Mapping[str, Json]] = {"title": "Invocations", "version": "1"}
_SESSION: Final[Mapping[str, Json]] = {"name": "agent_session_id", "in": "query", "schema": _TEXT}
_POST: Final[Mapping[str, Json]] = {
    "summary": "Invoke the agent: whole, streamed or in the background",
    "parameters": [_SESSION],
    "requestBody": {"required": True, "content": {"application/json": {"schema": _INVOCATION}}},
    "responses": {"200": {"description": "The answer", "content": _CONTENT}},
}

OPENAPI: Final[Mapping[str, Json]] = {
    "openapi": "3.1.0",
    "info": _INFO,
    "paths": {"/invocations": {"post": _POST}},
}
"""The OpenAPI document of `/invocations`."""


def _message(kind: str, fields: Mapping[str, Json]) -> dict[str, Json]:
    return {"payload": _object(type={"const": kind}, **fields["properties"])}


def _operation(action: str, *messages: str) -> dict[str, Json]:
    references = [{"$ref": f"#/channels/invocations/messages/{name}"} for name in messages]
    return {"action": action, "channel": {"$ref": "#/channels/invocations"}, "messages": references}


_MESSAGES: Final = {"invocation": {"payload": _INVOCATION}, **{name: _message(name, _EVENTS[name]) for name in _EVENTS}}

ASYNCAPI: Final[Mapping[str, Json]] = {
    "asyncapi": "3.0.0",
    "info": _INFO,
    "channels": {"invocations": {"address": "/invocations_ws", "messages": _MESSAGES}},
    "operations": {"invoke": _operation("receive", "invocation"), "answer": _operation("send", *_EVENTS)},
}
"""The AsyncAPI document of `/invocations_ws`."""
