"""The response object, complete: every field that the Open Responses specification requires, nullable ones as null.

Specification: https://www.openresponses.org/specification, schema `ResponseResource`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hostedagent.failures import ERROR_TYPES
from hostedagent.protocol.types import Event, Item, Json
from hostedagent.protocol.values import is_mapping, is_rows

DEFAULTS: Final[Mapping[str, Json]] = {
    "completed_at": None,
    "incomplete_details": None,
    "model": "",
    "previous_response_id": None,
    "instructions": None,
    "error": None,
    "tools": [],
    "tool_choice": "auto",
    "truncation": "disabled",
    "parallel_tool_calls": True,
    "text": {"format": {"type": "text"}},
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
    "temperature": 1.0,
    "reasoning": None,
    "usage": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "store": True,
    "background": False,
    "service_tier": "default",
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
}
"""Required field to the value that it has when the turn sets none."""


def complete(response: Mapping[str, Json]) -> dict[str, Json]:
    """The response with every required field; existing values that are not null are kept."""
    full = {**response, **DEFAULTS, **response}  # The fields of the response first.
    for name, value in response.items():
        if value is None:
            full[name] = DEFAULTS.get(name)
    if full["error"]:
        kind = ERROR_TYPES.get(full["error"].get("code"), "server_error")
        full["error"] = {"type": kind, "param": None, **full["error"]}
    if full["reasoning"]:
        full["reasoning"] = {"effort": None, "summary": None, **full["reasoning"]}
    if full["tools"]:
        full["tools"] = [_complete_tool(tool) for tool in full["tools"]]
    wanted = {"format": {"type": "text"}, **full["text"]}
    if wanted["format"].get("type") == "json_schema":
        wanted["format"] = {"description": None, "strict": False, **wanted["format"]}
    full["text"] = wanted
    return full


def _complete_tool(tool: Mapping[str, Json]) -> Mapping[str, Json]:
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": None, **tool}


def complete_error(event: Mapping[str, Json]) -> dict[str, Json]:
    """An `error` event with the specification's nested error beside the flat fields that OpenAI's clients read."""
    if "error" in event:
        return dict(event)
    error = {key: event.get(key) for key in ("code", "message", "param")}
    return {**event, "error": {"type": "server_error", **error}}


PRIVATE: Final = "internal_metadata"
"""The field of an item for what only the host may set and read: it is stored, and clients never see it."""


def public_item(item: Item) -> Item:
    """An item without the fields that only the host may read."""
    return item if PRIVATE not in item else {name: value for name, value in item.items() if name != PRIVATE}


_DONE: Final[Mapping[str, Json]] = {"status": "completed"}

ITEM_FIELDS: Final[Mapping[str, Mapping[str, Json]]] = {
    "message": _DONE,
    "function_call": _DONE,
    "function_call_output": _DONE,
    "custom_tool_call": _DONE,
    "custom_tool_call_output": _DONE,
    "computer_call_output": _DONE,
    "shell_call": {"environment": None, **_DONE},
    "shell_call_output": {"max_output_length": None, **_DONE},
    "tool_search_call": {"call_id": None, "execution": "server", **_DONE},
    "tool_search_output": {"call_id": None, "execution": "server", **_DONE},
}
"""Item type to the fields that a listed item must have, and that callers need not send."""

_PART_FIELDS: Final[Mapping[str, Mapping[str, Json]]] = {
    "input_image": {"detail": "auto"},
    "output_text": {"annotations": []},
}


def listed_item(item: Item) -> dict[str, Json]:
    """An item in a list of items, as clients see it: complete, and the content of a message as parts."""
    shown = dict(public_item(item))
    if shown.get("type") == "message" and isinstance(text := shown.get("content"), str):
        kind = "output_text" if shown.get("role") == "assistant" else "input_text"
        shown["content"] = [{"type": kind, "text": text}]
    for name in ("content", "output"):
        if is_rows(parts := shown.get(name)):
            shown[name] = [_complete_part(part) for part in parts]
    return {**shown, **ITEM_FIELDS.get(str(shown.get("type")), {}), **shown}


def _complete_part(part: Json) -> Json:
    return {**part, **_PART_FIELDS.get(str(part.get("type")), {}), **part} if is_mapping(part) else part


def public_response(response: Mapping[str, Json]) -> dict[str, Json]:
    """A response as clients see it: complete, and without the fields that only the host may read."""
    output = [public_item(item) for item in response.get("output") or () if item is not None]
    return complete({**response, "output": output})


def public_event(event: Event) -> Event:
    """An event as clients see it."""
    if (response := event.get("response")) is not None:
        return {**event, "response": public_response(response)}
    if (item := event.get("item")) is not None and PRIVATE in item:
        return {**event, "item": public_item(item)}
    return event
