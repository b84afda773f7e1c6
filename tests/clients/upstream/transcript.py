"""What a model was asked, as short lines that read the same whichever provider it was.

Tests compare conversations, not wire formats: `user: …`, `assistant: …`, `call weather {"city": "Paris"}`,
`result sunny`, `reasoning …`. Ids are left out, because the rules already pair them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import cast

from .values import Json


def transcript(body: Json) -> list[str]:
    """The lines of a request's conversation, oldest first, its instructions before all."""
    lines: list[str] = []
    for key in ("instructions", "system"):
        if body.get(key):
            lines += _said("system", body[key])
    if "input" in body:
        given = cast("str | list[Json]", body["input"])
        items: list[Json] = [{"role": "user", "content": given}] if isinstance(given, str) else given
        return lines + [line for item in items for line in _item(item)]
    return lines + [line for message in cast("list[Json]", body["messages"]) for line in _message(message)]


def _item(item: Json) -> Iterator[str]:
    match item.get("type", "message"):
        case "message":
            yield from _said(item["role"], item["content"])
        case "function_call":
            yield f"call {item['name']} {item['arguments']}"
        case "function_call_output":
            yield f"result {_plain(item['output'])}"
        case "reasoning":
            yield f"reasoning {' '.join(part['text'] for part in item['summary'])}".rstrip()
        case "mcp_approval_response":
            yield "approved" if item["approve"] else "rejected"
        case other:
            yield str(other)


def _message(message: Json) -> Iterator[str]:
    if message["role"] == "tool":
        yield f"result {_plain(message['content'])}"
        return
    if message.get("content"):
        yield from _said(message["role"], message["content"])
    if message.get("refusal"):
        yield f"refusal: {message['refusal']}"
    for call in cast("list[Json]", message.get("tool_calls") or []):
        yield f"call {call['function']['name']} {call['function']['arguments']}"


def _said(role: str, content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield f"{role}: {content}"
        return
    for part in cast("list[Json]", content):
        match part["type"]:
            case "text" | "input_text" | "output_text":
                yield f"{role}: {part['text']}"
            case "refusal":
                yield f"refusal: {part['refusal']}"
            case "thinking":
                yield f"reasoning {part['thinking']}".rstrip()
            case "tool_use":
                yield f"call {part['name']} {json.dumps(part['input'])}"
            case "tool_result":
                yield f"result {_plain(part['content'])}"
            case other:
                yield f"{role}: [{other}]"


def _plain(content: object) -> str:
    if isinstance(content, str):
        return content
    return " ".join(str(part.get("text", f"[{part['type']}]")) for part in cast("list[Json]", content))
