"""Converts a request of Chat Completions to the body of a create-response request.

A client always sends all messages, so its turn is not stored. One that names a `conversation` sends only new messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hostedagent.doors.messages import message_items
from hostedagent.errors import InvalidRequest, UnsupportedOption
from hostedagent.protocol.checks import array, mapping
from hostedagent.protocol.types import Json

_SAME: Final = (
    "model",
    "stream",
    "stream_options",
    "conversation",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "parallel_tool_calls",
    "top_logprobs",
    "prompt_cache_key",
    "safety_identifier",
    "user",
    "metadata",
    "service_tier",
)
"""Fields that both protocols have."""

_REFUSED: Final = {
    "functions": "send the functions as tools",
    "function_call": "send it as tool_choice",
    "audio": "the agent answers with text",
}
"""Fields that are refused, because a caller would miss their effect."""


def create_body(body: Mapping[str, Json]) -> dict[str, Json]:
    """The body of the equivalent create-response request.

    Raises:
        InvalidRequest: A value is malformed; `param` names it.
        UnsupportedOption: A field is not supported; `param` names it.
    """
    for name, instead in _REFUSED.items():
        if body.get(name) is not None:
            raise UnsupportedOption(f"{name} is not accepted: {instead}.", param=name)
    if body.get("n") not in (None, 1):
        raise UnsupportedOption("n must be 1: the agent runs once.", param="n")
    fields: dict[str, Json] = {name: body[name] for name in _SAME if name in body}
    if not (messages := body.get("messages")):
        raise InvalidRequest("messages must be a non-empty array.", param="messages")
    fields |= {"input": list(message_items(messages, _part)), "store": bool(body.get("conversation"))}
    most = body.get("max_completion_tokens")
    if (most := body.get("max_tokens") if most is None else most) is not None:
        fields["max_output_tokens"] = most
    if (effort := body.get("reasoning_effort")) is not None:
        fields["reasoning"] = {"effort": effort}
    if tools := body.get("tools"):
        fields["tools"] = [_flat(row, f"tools[{n}]") for n, row in enumerate(array(tools, "tools"))]
    if (choice := body.get("tool_choice")) is not None:
        fields["tool_choice"] = choice if isinstance(choice, str) else _choice(choice, "tool_choice")
    if text := _text(body):
        fields["text"] = text
    return fields


def _text(body: Mapping[str, Json]) -> dict[str, Json]:
    text: dict[str, Json] = {}
    if (wanted := body.get("response_format")) is not None:
        wanted = mapping(wanted, "response_format")
        schema = wanted.get("json_schema")
        text["format"] = {"type": wanted.get("type"), **(mapping(schema, "response_format") if schema else {})}
    if (verbosity := body.get("verbosity")) is not None:
        text["verbosity"] = verbosity
    return text


def _flat(value: Json, param: str) -> dict[str, Json]:
    """A tool, or a choice of one, without the object that wraps the fields of a function."""
    row = mapping(value, param)
    function = row.get("function")
    return {"type": "function", **mapping(function, f"{param}.function")} if function is not None else dict(row)


def _choice(value: Json, param: str) -> dict[str, Json]:
    """A choice of one tool or of several, as the Responses protocol has it."""
    row = _flat(value, param)
    if (allowed := row.get("allowed_tools")) is None:
        return row
    place = f"{param}.allowed_tools"
    given = mapping(allowed, place)
    tools = enumerate(array(given.get("tools"), f"{place}.tools"))
    return {"type": row.get("type"), **given, "tools": [_flat(tool, f"{place}.tools[{n}]") for n, tool in tools]}


def _part(part: Mapping[str, Json], param: str) -> dict[str, Json] | None:
    match part.get("type"):
        case "refusal":
            return {"type": "refusal", "refusal": part.get("refusal")}
        case "image_url":
            image = mapping(part.get("image_url"), f"{param}.image_url")
            return {"type": "input_image", "image_url": image.get("url"), "detail": image.get("detail") or "auto"}
        case "input_audio":
            return dict(part)
        case "file":
            return {"type": "input_file", **mapping(part.get("file"), f"{param}.file")}
        case _:
            return None
