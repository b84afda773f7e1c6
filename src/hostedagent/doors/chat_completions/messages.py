"""From a request of Chat Completions to the body of a create-response request.

A client sends all messages each time, so its turn is not stored. One that names a `conversation` sends what is new.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, cast

from hostedagent.errors import InvalidRequest, UnsupportedOption
from hostedagent.protocol.types import Item, Json

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
"""Fields whose effect a caller would miss."""


def create_body(body: Mapping[str, Json]) -> dict[str, Json]:
    """The create-response body that asks for the same.

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
    fields |= {"input": list(_items(body.get("messages"))), "store": bool(body.get("conversation"))}
    most = body.get("max_completion_tokens")
    if (most := body.get("max_tokens") if most is None else most) is not None:
        fields["max_output_tokens"] = most
    if (effort := body.get("reasoning_effort")) is not None:
        fields["reasoning"] = {"effort": effort}
    if tools := body.get("tools"):
        fields["tools"] = [_flat(row, f"tools[{n}]") for n, row in enumerate(_list(tools, "tools"))]
    if (choice := body.get("tool_choice")) is not None:
        fields["tool_choice"] = choice if isinstance(choice, str) else _flat(choice, "tool_choice")
    if text := _text(body):
        fields["text"] = text
    return fields


def _text(body: Mapping[str, Json]) -> dict[str, Json]:
    text: dict[str, Json] = {}
    if (wanted := body.get("response_format")) is not None:
        wanted = _mapping(wanted, "response_format")
        schema = wanted.get("json_schema")
        text["format"] = {"type": wanted.get("type"), **(_mapping(schema, "response_format") if schema else {})}
    if (verbosity := body.get("verbosity")) is not None:
        text["verbosity"] = verbosity
    return text


def _flat(value: Json, param: str) -> dict[str, Json]:
    """A tool, or a choice of one, without the object around a function's fields."""
    row = _mapping(value, param)
    function = row.get("function")
    return {"type": "function", **_mapping(function, f"{param}.function")} if function is not None else dict(row)


def _items(value: Json) -> Iterator[Item]:
    messages = _list(value, "messages")
    if not messages:
        raise InvalidRequest("messages must be a non-empty array.", param="messages")
    for n, row in enumerate(messages):
        param = f"messages[{n}]"
        message = _mapping(row, param)
        role = message.get("role")
        if role == "tool":
            output = _content(message.get("content", ""), "input_text", f"{param}.content")
            yield {"type": "function_call_output", "call_id": message.get("tool_call_id"), "output": output}
        elif role == "assistant":
            yield from _said(message, param)
        elif role in ("user", "system", "developer"):
            content = _content(message.get("content"), "input_text", f"{param}.content")
            yield {"type": "message", "role": role, "content": content}
        else:
            raise InvalidRequest(f"{param}.role {role!r:.80} is not a role of a message.", param=f"{param}.role")


def _said(message: Mapping[str, Json], param: str) -> Iterator[Item]:
    if content := message.get("content"):
        given: Json = [{"type": "text", "text": content}] if isinstance(content, str) else content
        yield {"type": "message", "role": "assistant", "content": _content(given, "output_text", f"{param}.content")}
    for n, row in enumerate(_list(message.get("tool_calls") or [], f"{param}.tool_calls")):
        call = _mapping(row, f"{param}.tool_calls[{n}]")
        function = _mapping(call.get("function"), f"{param}.tool_calls[{n}].function")
        named = {"name": function.get("name"), "arguments": function.get("arguments") or "{}"}
        yield {"type": "function_call", "call_id": call.get("id"), **named}


def _content(value: Json, text_type: str, param: str) -> Json:
    if isinstance(value, str):
        return value
    return [_part(row, text_type, f"{param}[{n}]") for n, row in enumerate(_list(value, param))]


def _part(value: Json, text_type: str, param: str) -> dict[str, Json]:
    part = _mapping(value, param)
    kind = str(part.get("type"))
    if kind == "text":
        return {"type": text_type, "text": part.get("text")}
    if kind == "refusal":
        return {"type": "refusal", "refusal": part.get("refusal")}
    if kind == "image_url":
        image = _mapping(part.get("image_url"), f"{param}.image_url")
        return {"type": "input_image", "image_url": image.get("url"), "detail": image.get("detail") or "auto"}
    if kind == "file":
        return {"type": "input_file", **_mapping(part.get("file"), f"{param}.file")}
    raise InvalidRequest(f"{param}.type {kind!r:.80} is not a type of content.", param=f"{param}.type")


def _mapping(value: Json, param: str) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{param} must be an object.", param=param)
    return cast("dict[str, Json]", value)


def _list(value: Json, param: str) -> list[Json]:
    if not isinstance(value, list):
        raise InvalidRequest(f"{param} must be an array.", param=param)
    return cast("list[Json]", value)
