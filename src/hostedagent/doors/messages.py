"""Converts the messages of Chat Completions and AG-UI to the input items of a create-response request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.checks import array, mapping
from hostedagent.protocol.types import Item, Json
from hostedagent.protocol.values import is_rows

ReadPart: TypeAlias = Callable[[Mapping[str, Json], str], dict[str, Json] | None]
"""Reads a part of a message that is not text, at a path; returns `None` for an unknown type."""


def message_items(messages: Json, read_part: ReadPart, *, first: int = 0) -> Iterator[Item]:
    """The items of messages.

    Args:
        read_part: Reads the parts whose form differs between the protocols.
        first: The index of the first one, if there are others before it.

    Raises:
        InvalidRequest: A value is malformed; `param` names it.
    """
    custom = set[Json]()
    for n, row in enumerate(array(messages, "messages"), first):
        param = f"messages[{n}]"
        message = mapping(row, param)
        role = message.get("role")
        if role == "tool":
            output = _content(message.get("content", ""), "input_text", f"{param}.content", read_part)
            call_id = message.get("tool_call_id")
            kind = "custom_tool_call_output" if call_id in custom else "function_call_output"
            yield {"type": kind, "call_id": call_id, "output": output}
        elif role == "assistant":
            said = list(_said(message, param, read_part))
            custom.update(item["call_id"] for item in said if item["type"] == "custom_tool_call")
            yield from said
        elif role in ("user", "system", "developer"):
            content = _content(message.get("content"), "input_text", f"{param}.content", read_part)
            yield {"type": "message", "role": role, "content": content}
        else:
            raise InvalidRequest(f"{param}.role {role!r:.80} is not a role of a message.", param=f"{param}.role")


def _said(message: Mapping[str, Json], param: str, read_part: ReadPart) -> Iterator[Item]:
    given: Json = message.get("content") or []
    parts = [{"type": "text", "text": given}] if isinstance(given, str) else [*array(given, f"{param}.content")]
    if refusal := message.get("refusal"):
        parts.append({"type": "refusal", "refusal": refusal})
    if parts:
        parts = _content(parts, "output_text", f"{param}.content", read_part)
        yield {"type": "message", "role": "assistant", "content": parts}
    for n, row in enumerate(array(message.get("tool_calls") or [], f"{param}.tool_calls")):
        yield _call(mapping(row, f"{param}.tool_calls[{n}]"), f"{param}.tool_calls[{n}]")


def _call(call: Mapping[str, Json], param: str) -> Item:
    call_id = call.get("id")
    if call.get("type") == "custom":
        tool = mapping(call.get("custom"), f"{param}.custom")
        return {"type": "custom_tool_call", "call_id": call_id, "name": tool.get("name"), "input": tool.get("input")}
    function = mapping(call.get("function"), f"{param}.function")
    named = {"name": function.get("name"), "arguments": function.get("arguments") or "{}"}
    return {"type": "function_call", "call_id": call_id, **named}


def _content(value: Json, text_type: str, param: str, read_part: ReadPart) -> Json:
    if isinstance(value, str):
        return value
    if not is_rows(value):
        raise InvalidRequest(f"{param} must be a string, or an array of parts.", param=param)
    parts: list[Json] = []
    for n, row in enumerate(value):
        part = mapping(row, f"{param}[{n}]")
        kind = part.get("type")
        read = {"type": text_type, "text": part.get("text")} if kind == "text" else read_part(part, f"{param}[{n}]")
        if read is None:
            where = f"{param}[{n}].type"
            raise InvalidRequest(f"{where} {kind!r:.80} is not a type of content that an agent takes.", param=where)
        parts.append(read)
    return parts
