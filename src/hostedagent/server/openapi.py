"""`GET /openapi.json`: the routes that a host serves, as an OpenAPI document.

The document is generated from the routes of the application, so it contains only served routes. `OPERATIONS` describes
them; a test fails for a route of the host without a row here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from hostedagent.protocol.request.options import OPTIONS
from hostedagent.protocol.types import Json

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Receive, Scope, Send

_PAGED: Final = ("limit", "order", "after", "before")


class Operation(Struct, frozen=True, kw_only=True):
    """The description of a route.

    Args:
        body: The schema of the request body; `None` if there is none.
        answer: The schema of the response; `None` for plain text.
    """

    summary: str
    body: str | None = None
    answer: str | None = "Object"
    streams: bool = False
    query: tuple[str, ...] = ()


OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("POST", "/responses"): Operation(
        summary="Create a response: whole, streamed or in the background",
        body="CreateResponse",
        answer="Response",
        streams=True,
    ),
    ("GET", "/responses/{response_id}"): Operation(
        summary="Retrieve a response; with stream=true replay the events of a background stream",
        answer="Response",
        streams=True,
        query=("stream", "starting_after"),
    ),
    ("DELETE", "/responses/{response_id}"): Operation(summary="Delete a response", answer="Deleted"),
    ("POST", "/responses/{response_id}/cancel"): Operation(summary="Cancel a background response", answer="Response"),
    ("POST", "/responses/{response_id}/steer"): Operation(
        summary="Send new input for a running response, which the next one takes over", body="Steer", streams=True
    ),
    ("GET", "/responses/{response_id}/input_items"): Operation(
        summary="List the input of a response, the history before it included", answer="List", query=_PAGED
    ),
    ("POST", "/responses/input_tokens"): Operation(
        summary="Count the tokens that a request would give to the model", body="CreateResponse"
    ),
    ("POST", "/responses/compact"): Operation(
        summary="Compact a conversation: what is left of it is the input of a new one", body="CreateResponse"
    ),
    ("POST", "/chat/completions"): Operation(
        summary="Run a turn for clients of Chat Completions", body="ChatCompletion", streams=True
    ),
    ("POST", "/conversations"): Operation(
        summary="Create a conversation, with items, or with those of another one (fork_from)", body="CreateConversation"
    ),
    ("GET", "/conversations"): Operation(summary="List the caller's conversations", answer="List", query=_PAGED),
    ("GET", "/conversations/{conversation_id}"): Operation(summary="Retrieve a conversation"),
    ("POST", "/conversations/{conversation_id}"): Operation(summary="Replace its metadata", body="Metadata"),
    ("DELETE", "/conversations/{conversation_id}"): Operation(
        summary="Delete a conversation with its responses and items", answer="Deleted"
    ),
    ("POST", "/conversations/{conversation_id}/items"): Operation(
        summary="Add items, which the next turn reads", body="Items", answer="List"
    ),
    ("GET", "/conversations/{conversation_id}/items"): Operation(
        summary="List the items that the next turn reads", answer="List", query=_PAGED
    ),
    ("GET", "/conversations/{conversation_id}/items/{item_id}"): Operation(summary="Retrieve an item"),
    ("DELETE", "/conversations/{conversation_id}/items/{item_id}"): Operation(
        summary="Erase an item: no later turn reads it"
    ),
    ("GET", "/models"): Operation(summary="List the one model", answer="List"),
    ("GET", "/models/{model}"): Operation(summary="Describe the one model"),
    ("GET", "/readiness"): Operation(summary="Say whether the server can serve"),
    ("GET", "/openapi.json"): Operation(summary="This document"),
    ("GET", "/"): Operation(summary="A text that names the routes", answer=None),
}
"""Method and path, below the host's prefix, to what the route does."""

_OBJECT: Final[Mapping[str, Json]] = {"type": "object", "additionalProperties": True}
_TEXT: Final[Mapping[str, Json]] = {"type": "string"}
_FLAG: Final[Mapping[str, Json]] = {"type": "boolean"}
_TYPES: Final[Mapping[str, Mapping[str, Json]]] = {
    "input": {"oneOf": [_TEXT, {"type": "array", "items": _OBJECT}]},
    "instructions": _TEXT,
    "model": _TEXT,
    "previous_response_id": _TEXT,
    "conversation": {"oneOf": [_TEXT, _OBJECT]},
    "stream": _FLAG,
    "store": _FLAG,
    "background": _FLAG,
    "metadata": {"type": "object", "additionalProperties": _TEXT},
    "temperature": {"type": "number"},
    "top_p": {"type": "number"},
    "max_output_tokens": {"type": "integer"},
    "tools": {"type": "array", "items": _OBJECT},
}
"""Fields of a create request whose types are simple. The others have those of the Responses API."""

_FORK: Final = ("conversation_id", "item_id")
_NUMBERS: Final = ("limit", "starting_after")
_PARAMETER: Final = re.compile(r"\{(\w+)(?::\w+)?\}")


def openapi(app: Starlette, prefix: str, more: Sequence[BaseRoute]) -> ASGIApp:
    """Serves the document, made for each request because an application may add routes at any time.

    Args:
        more: The host's routes that are served where the application has none.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        base = scope.get("root_path") or "/"
        shown = {**document([*app.routes, *more], prefix), "servers": [{"url": base}]}
        await JSONResponse(shown)(scope, receive, send)

    return answer


def document(routes: Iterable[BaseRoute], prefix: str) -> dict[str, Json]:
    """The document of the routes that `OPERATIONS` describes."""
    paths: dict[str, dict[str, Json]] = {}
    for method, path, operation in operations(routes, prefix):
        paths.setdefault(f"{prefix}{path}", {})[method.lower()] = _described(method, path, operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "hostedagent", "version": version("hostedagent")},
        "paths": paths,
        "components": {"schemas": _schemas()},
    }


def operations(routes: Iterable[BaseRoute], prefix: str) -> Iterable[tuple[str, str, Operation]]:
    """Method, path below the prefix and description of the host's own routes."""
    for route in routes:
        if not isinstance(route, Route) or not route.path.startswith(prefix):
            continue
        path = _PARAMETER.sub(r"{\1}", route.path[len(prefix) :])
        for method in sorted(route.methods or ()):
            if (operation := OPERATIONS.get((method, path))) is not None:
                yield method, path, operation


def _described(method: str, path: str, operation: Operation) -> dict[str, Json]:
    found: dict[str, Json] = {
        "operationId": _operation_id(method, path),
        "summary": operation.summary,
        "responses": {"200": _answer(operation), "default": {"description": "An error", **_json("Error")}},
    }
    named = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in _PARAMETER.findall(path)]
    asked = [
        {"name": name, "in": "query", "schema": {"type": "integer"} if name in _NUMBERS else _TEXT}
        for name in operation.query
    ]
    if named or asked:
        found["parameters"] = [*named, *asked]
    if operation.body is not None:
        found["requestBody"] = {"required": True, **_json(operation.body)}
    return found


def _operation_id(method: str, path: str) -> str:
    words = re.sub(r"\W+", "_", path).strip("_") or "root"
    return f"{method.lower()}_{words}"


def _answer(operation: Operation) -> dict[str, Json]:
    if operation.answer is None:
        return {"description": "A text", "content": {"text/plain": {"schema": _TEXT}}}
    answer: dict[str, Json] = {"description": "Done", **_json(operation.answer)}
    if operation.streams:
        answer["content"]["text/event-stream"] = {"schema": _TEXT}
    return answer


def _json(schema: str) -> dict[str, Json]:
    return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


def _schemas() -> dict[str, Json]:
    fields = {
        name: {**_TYPES.get(name, {}), **({"description": row.why} if row.why else {})}
        for name, row in sorted(OPTIONS.items())
        if row.verdict != "refused"
    }
    error = dict.fromkeys(("message", "type", "code"), _TEXT) | {"param": {"type": ["string", "null"]}}
    deleted = {"id": _TEXT, "object": _TEXT, "deleted": _FLAG}
    listed = {"object": _TEXT, "data": {"type": "array", "items": _OBJECT}, "has_more": _FLAG}
    metadata = _TYPES["metadata"]
    items: Json = {"type": "array", "items": _OBJECT}
    fork = {"type": "object", "required": ["conversation_id"], "properties": dict.fromkeys(_FORK, _TEXT)}
    created = {"metadata": metadata, "items": items, "fork_from": fork}
    return {
        "Object": _OBJECT,
        "ChatCompletion": {"type": "object", "required": ["messages"], "properties": {"messages": items}},
        "CreateConversation": {"type": "object", "properties": created},
        "Metadata": {"type": "object", "required": ["metadata"], "properties": {"metadata": metadata}},
        "Steer": {"type": "object", "required": ["input"], "properties": {"input": _TYPES["input"], "stream": _FLAG}},
        "Items": {"type": "object", "required": ["items"], "properties": {"items": items}},
        "CreateResponse": {"type": "object", "required": ["input"], "properties": fields},
        "Response": {"type": "object", "required": ["id", "object", "status", "output"], "additionalProperties": True},
        "Deleted": {"type": "object", "required": ["id", "deleted"], "properties": deleted},
        "List": {"type": "object", "required": ["object", "data"], "properties": listed},
        "Error": {
            "type": "object",
            "required": ["error"],
            "properties": {"error": {"type": "object", "required": list(error), "properties": error}},
        },
    }
