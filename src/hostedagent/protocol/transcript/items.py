"""Converts messages to items: the input and output of a run, as the response store keeps them.

Output becomes items by the same projection that a served turn uses, so that both are read back alike. A user message
becomes a message of input parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent_framework import AgentResponseUpdate, Content, Message

from hostedagent.protocol.content import COMPLETED, Output
from hostedagent.protocol.content.parts import write_part
from hostedagent.protocol.ids import new_item_id
from hostedagent.protocol.stream.builder import Projection
from hostedagent.protocol.stream.response import ResponseBuilder
from hostedagent.protocol.types import Json, MutableItem

_ITEMS: Final = frozenset({"function_result", "function_approval_response"})
"""Contents that are items of their own, whatever the role of their message."""


def split(messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]]:
    """Split messages into input and output of a run: the output begins after the last input message."""
    end = max((n + 1 for n, message in enumerate(messages) if message.role not in ("assistant", "tool")), default=0)
    while end < len(messages) and messages[end].role == "tool":
        end += 1
    return messages[:end], messages[end:]


def write_input(messages: Sequence[Message], response_id: str) -> list[MutableItem]:
    """Input items, each with an id."""
    items: list[MutableItem] = []
    for message in messages:
        if message.role in ("assistant", "tool"):
            items.extend(write_output([message], response_id))
            continue
        said = [content for content in message.contents if content.type not in _ITEMS]
        if said:
            parts: list[Json] = [write_part(content) for content in said]
            item_id = new_item_id("msg", response_id)
            items.append(
                {"type": "message", "id": item_id, "status": "completed", "role": message.role, "content": parts}
            )
        if own := [content for content in message.contents if content.type in _ITEMS]:
            items.extend(write_output([Message("tool", own)], response_id))
    return items


def write_output(messages: Sequence[Message], response_id: str) -> list[MutableItem]:
    """Output items, as a served turn would have created them."""
    builder = ResponseBuilder(response_id)
    projection = Projection(Output(builder, own_tools="function_call"))
    asked = {
        content.function_call.call_id
        for message in messages
        for content in message.contents
        if content.type == "function_approval_request" and content.function_call is not None
    }
    for n, message in enumerate(messages):
        # An approval request represents its call.
        contents = [row for row in message.contents if row.type != "function_call" or row.call_id not in asked]
        for _ in projection.update(_update(message, contents, n)):
            pass
    for _ in projection.close(COMPLETED):
        pass
    return builder.response["output"]


def _update(message: Message, contents: Sequence[Content], place: int) -> AgentResponseUpdate:
    return AgentResponseUpdate(
        contents=list(contents),
        role=message.role,
        author_name=message.author_name,
        message_id=message.message_id or f"message-{place}",
    )
