"""Reads a response for doors: its text, its failure, its requests to a person, and the items that answer them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from hostedagent.failures import FAILURE_MESSAGES
from hostedagent.outcomes import Failed
from hostedagent.protocol.ids import new_item_id
from hostedagent.protocol.json import decode_text, encode
from hostedagent.protocol.types import Item, Json
from hostedagent.protocol.values import fields_of, is_object

_APPROVAL: Final = new_item_id("mcpr", "").partition("_")[0] + "_"
"""Prefix of the ids of approval requests."""

YES: Final[Mapping[str, Json]] = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}},
    "required": ["approved"],
}
"""The schema of an answer to an approval request."""


def open_questions(output: Iterable[Item]) -> Iterator[Item]:
    """The approval requests in an output, and its unanswered calls."""
    items = list(output)
    answered = {item.get("call_id") for item in items if str(item["type"]).endswith("_call_output")}
    for item in items:
        if item["type"] == "mcp_approval_request":
            yield item
        elif item["type"] == "function_call" and item["call_id"] not in answered:
            yield item


def answer_item(question_id: str, reply: Json) -> Item:
    """The input item that answers a question. Only an explicit yes approves."""
    if question_id.startswith(_APPROVAL):
        approve = (reply.get("approved") if is_object(reply) else reply) is True
        return {"type": "mcp_approval_response", "approval_request_id": question_id, "approve": approve}
    return {"type": "function_call_output", "call_id": question_id, "output": as_text(reply)}


def as_text(value: Json) -> str:
    """A string unchanged, any other value as JSON."""
    return value if isinstance(value, str) else encode(value).decode()


def shown_question(item: Item) -> dict[str, Json]:
    """A question in the doors' own JSON form: `id`, `kind`, `name` and `arguments`."""
    is_approval = item["type"] == "mcp_approval_request"
    return {
        "id": item["id"] if is_approval else item["call_id"],
        "kind": "approval" if is_approval else "call",
        "name": item["name"],
        "arguments": item.get("arguments"),
    }


def asked_of(item: Item) -> Mapping[str, Json]:
    """The `request` and the `response_schema` of a workflow's request; empty for any other call."""
    try:
        return fields_of(decode_text(str(item.get("arguments") or "{}")))
    except ValueError:
        return {}


def text_of(response: Mapping[str, Json]) -> str:
    """The text of a response: its messages, one paragraph each."""
    messages = (item for item in response.get("output") or () if item["type"] == "message")
    texts = ("".join(part.get("text") or part.get("refusal") or "" for part in row["content"]) for row in messages)
    return "\n\n".join(text for text in texts if text)


def failure_of(response: Mapping[str, Json]) -> Failed | None:
    """The error of a response; `None` if it has not failed."""
    if response["status"] != "failed":
        return None
    error: Mapping[str, Json] = response.get("error") or {}
    return Failed(error.get("code", "server_error"), error.get("message", FAILURE_MESSAGES["server_error"]))
