"""The OpenAI Chat Completions API: one `Turn` as its chunks, or as one completion object.

A completion holds one message, so all texts of a turn join; provider-side tools have no place in this protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from .values import (
    Closed,
    Completed,
    Dropped,
    Failed,
    Gate,
    Incomplete,
    Json,
    Message,
    NotExpressibleError,
    Refusal,
    StreamError,
    Text,
    ToolCall,
    Turn,
    UrlCitation,
    Usage,
    Wire,
    gated,
)

CREATED_AT = 1_750_000_000


@dataclass(frozen=True, slots=True)
class _Call:
    """A tool call at its place among the calls of the message."""

    index: int
    id: str
    call: ToolCall


def stream(turn: Turn, number: int, request: Json) -> list[Wire]:
    """The chunks of one streamed completion, without the `[DONE]` that follows a good end."""
    parts = _flat(turn, number)
    deltas: list[Wire] = [{"role": "assistant", "content": None if _calls(parts) else "", "refusal": None}]
    for part in parts:
        deltas += _part_deltas(part)
    options = cast(Json, request.get("stream_options") or {})
    wants_usage = bool(options.get("include_usage"))
    base = _base(number, request, "chat.completion.chunk") | ({"usage": None} if wants_usage else {})
    events: list[Wire] = [delta if isinstance(delta, Gate) else _chunk(base, delta) for delta in deltas]
    match turn.end:
        case Dropped() | Closed():
            return events
        case Failed(code=code, message=message) | StreamError(code=code, message=message):
            return [*events, {"error": {"message": message, "type": "server_error", "param": None, "code": code}}]
        case Completed() | Incomplete():
            events.append(_chunk(base, {}, finish_reason=_finish_reason(turn)))
    if wants_usage:
        events.append({**base, "choices": [], "usage": _usage(turn.usage)})
    return events


def whole(turn: Turn, number: int, request: Json) -> Json:
    """The completion object of a call that does not stream."""
    parts = _flat(turn, number)
    texts = [part for part in parts if isinstance(part, Text)]
    refusals = [part.text for part in parts if isinstance(part, Refusal)]
    message: Json = {
        "role": "assistant",
        "content": "".join(part.text for part in texts) if texts else None,
        "refusal": "".join(refusals) if refusals else None,
        "annotations": [note for part in texts for note in _annotations(part)],
    }
    if calls := _calls(parts):
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": _function(call.call.name, call.call.json)} for call in calls
        ]
    choice: Json = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(turn)}
    return _base(number, request, "chat.completion") | {"choices": [choice], "usage": _usage(turn.usage)}


def _flat(turn: Turn, number: int) -> list[Text | Refusal | _Call]:
    flat: list[Text | Refusal | _Call] = []
    for index, part in enumerate(turn.parts):
        match part:
            case Text() | Refusal():
                flat.append(part)
            case ToolCall():
                flat.append(_Call(len(_calls(flat)), part.id_at(number, index), part))
            case Message(parts=parts):
                flat += parts
            case _:
                raise NotExpressibleError("Chat Completions", part)
    return flat


def _calls(parts: list[Text | Refusal | _Call]) -> list[_Call]:
    return [part for part in parts if isinstance(part, _Call)]


def _part_deltas(part: Text | Refusal | _Call) -> list[Wire]:
    match part:
        case Text():
            texts: list[Json] = [{"content": delta} for delta in part.deltas]
            notes: list[Wire] = [{"annotations": noted}] if (noted := _annotations(part)) else []
            return [*gated(texts, part.gate), *notes]
        case Refusal():
            return [{"refusal": delta} for delta in part.deltas]
        case _Call(index=index, id=id_, call=call):
            start: Json = {"index": index, "id": id_, "type": "function", "function": _function(call.name, "")}
            first: Json = {"tool_calls": [start]}
            rest: list[Json] = [
                {"tool_calls": [{"index": index, "function": {"arguments": delta}}]} for delta in call.deltas
            ]
            return gated([first, *rest], call.gate)


def _function(name: str, arguments: str) -> Json:
    return {"name": name, "arguments": arguments}


def _annotations(part: Text) -> list[Json]:
    notes: list[Json] = []
    for note in part.annotations:
        if not isinstance(note, UrlCitation):
            raise NotExpressibleError("Chat Completions", note)
        citation = {"url": note.url, "title": note.title, "start_index": note.start, "end_index": note.end}
        notes.append({"type": "url_citation", "url_citation": citation})
    return notes


def _base(number: int, request: Json, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{number}",
        "object": kind,
        "created": CREATED_AT,
        "model": request.get("model"),
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    }


def _chunk(base: Json, delta: Json, finish_reason: str | None = None) -> Json:
    choice: Json = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return {**base, "choices": [choice]}


def _finish_reason(turn: Turn) -> str:
    match turn.end:
        case Incomplete(reason="max_output_tokens"):
            return "length"
        case Incomplete(reason="content_filter"):
            return "content_filter"
        case _:
            return "tool_calls" if turn.calls_tools else "stop"


def _usage(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": 0},
    }
