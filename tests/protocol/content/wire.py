"""Checks what a projection put on the wire: the strict grammar, and the OpenAI client's own types."""

from __future__ import annotations

from functools import cache
from typing import Any

from openai.types.responses import ResponseOutputItem, ResponseStreamEvent
from pydantic import TypeAdapter

from hostedagent.protocol.content import BY_CONTENT, COMPLETED, End
from hostedagent.testing import EventLog
from tests.protocol.content.harness import RESPONSE_ID, Projected, project, read

_HEAD = {"id": RESPONSE_ID, "object": "response", "created_at": 1, "model": "m"}


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def log(projected: Projected) -> EventLog:
    """The projection's events between a first and a last one; fails where the grammar or a type does not fit."""
    status = "incomplete" if any(item.get("status") == "incomplete" for item in projected.items) else "completed"
    end: dict[str, Any] = {**_HEAD, "status": status, "output": projected.items}
    if status == "incomplete":
        end["incomplete_details"] = {"reason": "max_output_tokens"}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**_HEAD, "status": "in_progress", "output": []}},
        *projected.events,
        {"type": f"response.{status}", "response": end},
    ]
    numbered: list[dict[str, Any]] = [{**event, "sequence_number": number} for number, event in enumerate(events)]
    for event in numbered[1:-1]:
        _adapter(ResponseStreamEvent).validate_python(event)
    for item in projected.items:
        _adapter(ResponseOutputItem).validate_python(item)
    return EventLog(numbered)


def lines(*updates: Any, end: End = COMPLETED, held_calls: frozenset[str] = frozenset()) -> list[str]:
    """One short line for every event of these updates, checked, without the first and the last."""
    found = log(project(updates, end=end, held_calls=held_calls)).lines()[1:-1]
    return [line.partition(" ")[2] for line in found]


def bare(item: dict[str, Any]) -> dict[str, Any]:
    """An item without what every item has: its id, its response, its agent, and what only the store sees."""
    hidden = ("id", "response_id", "agent_reference", "internal_metadata")
    return {name: value for name, value in item.items() if name not in hidden}


def emit(*contents: Any) -> dict[str, Any]:
    """The one item that these contents make, checked, without its id."""
    projected = project(contents)
    log(projected)
    assert len(projected.items) == 1
    return bare(projected.items[0])


def again(item: dict[str, Any]) -> dict[str, Any]:
    """Reads an item and emits what was read."""
    contents = read(item)
    assert all(content.type in BY_CONTENT for content in contents)
    return emit(*contents)
