"""The content of a compaction item: the compacted messages of a conversation, as bytes to be sealed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

from agent_framework import Content, Message

from hostedagent.protocol.json import decode, encode
from hostedagent.protocol.types import Item, Json
from hostedagent.protocol.values import rows_of

_CALLS: Final[Mapping[str, str]] = {
    "function_call": "call_id",
    "custom_tool_call": "call_id",
    "computer_call": "call_id",
    "shell_call": "call_id",
    "local_shell_call": "call_id",
    "apply_patch_call": "call_id",
    "mcp_approval_request": "id",
}
"""Items that wait for an answer of the caller, to the field by which the answer names them."""

_ANSWER_FIELDS: Final = ("call_id", "approval_request_id")


def dump(messages: Iterable[Message]) -> bytes:
    """The messages as bytes, without system messages, which stay in the conversation."""
    rows = [
        {
            "role": message.role,
            "author": message.author_name,
            "contents": [content.to_dict() for content in message.contents],
        }
        for message in messages
        if message.role != "system"
    ]
    return encode(rows)


def load(data: bytes) -> list[Message]:
    """The messages of `dump`."""
    return [
        Message(row["role"], [Content.from_dict(content) for content in row["contents"]], author_name=row["author"])
        for row in rows_of(decode(data))
    ]


def open_items(items: Sequence[Item]) -> list[int]:
    """The indexes of calls and requests without an answer."""
    answered: set[Json] = set()
    waiting: list[int] = []
    for n in reversed(range(len(items))):
        item = items[n]
        if (name := _CALLS.get(_kind(item))) is None:
            answered.update(item[name] for name in _ANSWER_FIELDS if name in item)
        elif item.get(name) in answered:
            answered.discard(item.get(name))  # An earlier call of the same id is another one.
        else:
            waiting.append(n)
    return waiting[::-1]


def split_open(items: Sequence[Item]) -> tuple[Sequence[Item], Sequence[Item]]:
    """Divide a conversation before the user message whose turn has open calls or requests, if any."""
    waiting = open_items(items)
    if not waiting:
        return items, ()
    asked = [n for n, item in enumerate(items[: waiting[0]]) if is_from_user(item)]
    start = asked[-1] if asked else 0
    return items[:start], items[start:]


def is_from_user(item: Item) -> bool:
    """Whether an item is a message of the user."""
    return item.get("type") == "message" and item.get("role") == "user"


def _kind(item: Item) -> str:
    return cast("str", item.get("type"))
