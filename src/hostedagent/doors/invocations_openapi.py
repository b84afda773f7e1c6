"""The OpenAPI document of the default shape of invocations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hostedagent.protocol.types import Json

_TEXT: Final[Mapping[str, Json]] = {"type": "string"}
_OBJECT: Final[Mapping[str, Json]] = {"type": "object", "additionalProperties": True}
_REQUEST: Final[Mapping[str, Json]] = {
    "type": "object",
    "properties": {
        "input": {},
        "message": _TEXT,
        "conversation": _TEXT,
        "stream": {"type": "boolean"},
        "background": {"type": "boolean"},
        "metadata": _OBJECT,
        "options": _OBJECT,
        "responses": _OBJECT,
    },
}
_ANSWER: Final[Mapping[str, Json]] = {
    "type": "object",
    "properties": {
        "response": _TEXT,
        "status": _TEXT,
        "questions": {"type": "array", "items": _OBJECT},
        "response_id": _TEXT,
        "conversation": _TEXT,
    },
}
OPENAPI: Final[Mapping[str, Json]] = {
    "openapi": "3.1.0",
    "info": {"title": "Invocations", "version": "1"},
    "paths": {
        "/invocations": {
            "post": {
                "summary": "Invoke the agent: whole, streamed or in the background",
                "parameters": [{"name": "agent_session_id", "in": "query", "schema": _TEXT}],
                "requestBody": {"required": True, "content": {"application/json": {"schema": _REQUEST}}},
                "responses": {
                    "200": {
                        "description": "The answer",
                        "content": {"application/json": {"schema": _ANSWER}, "text/event-stream": {"schema": _TEXT}},
                    }
                },
            }
        }
    },
}
"""The document of the default shape."""
