"""The OpenAI Responses API: one `Turn` as its numbered streaming events, or as one response object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from .openai_items import Item, build
from .values import (
    Closed,
    Completed,
    Dropped,
    Failed,
    Gate,
    Incomplete,
    Json,
    StreamError,
    Turn,
    Usage,
    Wire,
)

CREATED_AT = 1_750_000_000


def output_items(turn: Turn, number: int) -> list[Item]:
    """The output items of the turn with that number, in order."""
    items = [build(part, number, index) for index, part in enumerate(turn.parts)]
    if isinstance(turn.end, Incomplete) and items and "status" in items[-1].done:
        items[-1].done["status"] = "incomplete"
    return items


def stream(turn: Turn, number: int, request: Json) -> list[Wire]:
    """The events of one streamed response, numbered; a dropped one simply stops."""
    items = output_items(turn, number)
    events: list[Wire] = [
        {"type": f"response.{step}", "response": response_object(number, request, status="in_progress")}
        for step in ("created", "in_progress")
    ]
    for item in items:
        events += item.opening
        if not (turn.is_cut and item is items[-1]):
            events += item.closing
    events += _end(turn, number, request, items)
    return _numbered(events)


def whole(turn: Turn, number: int, request: Json) -> Json:
    """The response object of a call that does not stream."""
    return _final(turn, number, request, output_items(turn, number))


def exchange(turn: Turn, number: int, request: Json) -> list[Json]:
    """What a stored response adds to the transcript: its input, and the output it came to."""
    given = cast("str | list[Json]", request.get("input") or [])
    asked = [{"role": "user", "content": given}] if isinstance(given, str) else given
    output = [] if turn.is_cut else [item.done for item in output_items(turn, number)]
    return [*({"type": "message", **item} for item in asked), *output]


def response_object(number: int, request: Json, *, status: str, output: Sequence[Json] = ()) -> Json:
    """A response as the API echoes it, without what only its end knows."""
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": CREATED_AT,
        "status": status,
        "background": request.get("background", False),
        "error": None,
        "incomplete_details": None,
        "instructions": request.get("instructions"),
        "max_output_tokens": request.get("max_output_tokens"),
        "metadata": request.get("metadata") or {},
        "model": request.get("model"),
        "output": [*output],
        "parallel_tool_calls": request.get("parallel_tool_calls", True),
        "previous_response_id": request.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": request.get("store", True),
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": request.get("tool_choice", "auto"),
        "tools": request.get("tools", []),
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
    }


def _numbered(events: list[Wire]) -> list[Wire]:
    numbered: list[Wire] = []
    sequence = 0
    for event in events:
        if isinstance(event, Gate):
            numbered.append(event)
        else:
            numbered.append({**event, "sequence_number": sequence})
            sequence += 1
    return numbered


def _end(turn: Turn, number: int, request: Json, items: list[Item]) -> list[Wire]:
    match turn.end:
        case Dropped() | Closed():
            return []
        case StreamError(code=code, message=message):
            return [{"type": "error", "code": code, "message": message, "param": None}]
        case Completed() | Incomplete() | Failed():
            final = _final(turn, number, request, items[:-1] if turn.is_cut else items)
            return [{"type": f"response.{final['status']}", "response": final}]


def _final(turn: Turn, number: int, request: Json, items: list[Item]) -> Json:
    output = [item.done for item in items]
    match turn.end:
        case Completed():
            response = response_object(number, request, status="completed", output=output)
        case Incomplete(reason=reason):
            response = response_object(number, request, status="incomplete", output=output)
            response["incomplete_details"] = {"reason": reason}
        case Failed(code=code, message=message) | StreamError(code=code, message=message):
            response = response_object(number, request, status="failed", output=output)
            return response | {"error": {"code": code, "message": message}}
        case Dropped() | Closed():
            raise AssertionError("a dropped turn has no final response")
    return response | {"usage": _usage(turn.usage)}


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }
