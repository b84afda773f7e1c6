"""The Anthropic Messages API: one `Turn` as its streaming events, or as one message object.

Every text is a content block of its own; thinking is one block with a signature; a web search is a pair of blocks, the
server's tool use and its result. Event order follows the documented event flow, `ping` included.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal

from .values import (
    Closed,
    Completed,
    Dropped,
    Failed,
    Incomplete,
    Json,
    Message,
    NotExpressibleError,
    Reasoning,
    Refusal,
    StreamError,
    Text,
    ToolCall,
    Turn,
    UrlCitation,
    Usage,
    WebSearch,
    Wire,
    gated,
    slices,
    words,
)

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


@dataclass(slots=True)
class Block:
    """One content block: what it is at first, its deltas, and what it is in the end."""

    start: Json
    final: Json
    deltas: list[Wire] = field(default_factory=list[Wire])


def stream(turn: Turn, number: int, request: Json) -> list[Wire]:
    """The events of one streamed message."""
    blocks = content_blocks(turn, number)
    opening: Json = _message(number, request) | {"usage": _usage(turn.usage) | {"output_tokens": 1}}
    events: list[Wire] = [{"type": "message_start", "message": opening}]
    for index, block in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block.start})
        if index == 0:
            events.append({"type": "ping"})
        for delta in block.deltas:
            is_delta = isinstance(delta, dict)
            events.append({"type": "content_block_delta", "index": index, "delta": delta} if is_delta else delta)
        if not (turn.is_cut and index == len(blocks) - 1):
            events.append({"type": "content_block_stop", "index": index})
    return events + _end(turn)


def whole(turn: Turn, number: int, request: Json) -> Json:
    """The message object of a call that does not stream."""
    content = [block.final for block in content_blocks(turn, number)]
    return _message(number, request) | {"content": content, "usage": _usage(turn.usage)} | _stop(turn)


def error_body(status: int, message: str) -> Json:
    """The body of an HTTP error, and of an `error` event."""
    error = {"type": ERROR_TYPES.get(status, "api_error"), "message": message}
    return {"type": "error", "error": error, "request_id": "req_1"}


def content_blocks(turn: Turn, number: int) -> list[Block]:
    """The content blocks of the turn, in order."""
    blocks: list[Block] = []
    for index, part in enumerate(turn.parts):
        match part:
            case Text() | Refusal():
                blocks.append(_text(part))
            case Message(parts=parts):
                blocks += [_text(inner) for inner in parts]
            case Reasoning():
                blocks.append(_thinking(part))
            case ToolCall():
                blocks.append(_tool_use(part, number, index))
            case WebSearch():
                blocks += _web_search(part, number, index)
            case _:
                raise NotExpressibleError("Anthropic Messages", part)
    return blocks


def _text(part: Text | Refusal) -> Block:
    deltas: list[Json] = [{"type": "text_delta", "text": delta} for delta in part.deltas]
    block = Block({"type": "text", "text": ""}, {"type": "text", "text": part.text})
    if isinstance(part, Refusal):
        block.deltas += deltas
        return block
    citations = [_citation(note) for note in part.annotations]
    block.deltas = gated(deltas, part.gate)
    if citations:
        block.start["citations"] = []
        block.final["citations"] = citations
        block.deltas += [{"type": "citations_delta", "citation": citation} for citation in citations]
    return block


def _citation(note: object) -> Json:
    if not isinstance(note, UrlCitation):
        raise NotExpressibleError("Anthropic Messages", note)
    return {
        "type": "web_search_result_location",
        "url": note.url,
        "title": note.title,
        "cited_text": note.title,
        "encrypted_index": "index",
    }


def _thinking(part: Reasoning) -> Block:
    thinking = "\n".join((*part.summary, *part.raw))
    signature = part.encrypted or "signature"
    return Block(
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking", "thinking": thinking, "signature": signature},
        [
            *({"type": "thinking_delta", "thinking": delta} for delta in words(thinking)),
            {"type": "signature_delta", "signature": signature},
        ],
    )


def _tool_use(part: ToolCall, number: int, index: int) -> Block:
    base: Json = {"type": "tool_use", "id": part.id_at(number, index, "toolu"), "name": part.name}
    deltas: list[Json] = [{"type": "input_json_delta", "partial_json": delta} for delta in ("", *part.deltas)]
    arguments = json.loads(part.json) if not isinstance(part.arguments, str) else part.arguments
    return Block({**base, "input": {}}, {**base, "input": arguments}, gated(deltas, part.gate))


def _web_search(part: WebSearch, number: int, index: int) -> list[Block]:
    call_id = f"srvtoolu_{number}_{index}"
    use: Json = {"type": "server_tool_use", "id": call_id, "name": "web_search"}
    query: Json = {"query": part.query}
    found = [
        {"type": "web_search_result", "url": url, "title": url, "encrypted_content": "content", "page_age": None}
        for url in part.sources
    ]
    failure: Json = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    content = found if part.status == "completed" else failure
    result: Json = {"type": "web_search_tool_result", "tool_use_id": call_id, "content": content}
    deltas: list[Wire] = [
        {"type": "input_json_delta", "partial_json": delta} for delta in ("", *slices(json.dumps(query)))
    ]
    return [Block({**use, "input": {}}, {**use, "input": query}, deltas), Block(result, result)]


def _message(number: int, request: Json) -> Json:
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": request.get("model"),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _end(turn: Turn) -> list[Wire]:
    match turn.end:
        case Dropped() | Closed():
            return []
        case Failed(message=message) | StreamError(message=message):
            return [error_body(529 if isinstance(turn.end, StreamError) else 500, message)]
        case Completed() | Incomplete():
            usage = {"output_tokens": turn.usage.output}
            return [{"type": "message_delta", "delta": _stop(turn), "usage": usage}, {"type": "message_stop"}]


StopReason = Literal["end_turn", "max_tokens", "tool_use", "refusal"]


def _stop(turn: Turn) -> Json:
    return {"stop_reason": _stop_reason(turn), "stop_sequence": None}


def _stop_reason(turn: Turn) -> StopReason:
    match turn.end:
        case Incomplete(reason="max_output_tokens"):
            return "max_tokens"
        case Incomplete(reason="content_filter"):
            return "refusal"
        case _ if any(isinstance(part, Refusal) for part in turn.parts):
            return "refusal"
        case _:
            return "tool_use" if turn.calls_tools else "end_turn"


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.input - usage.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
        "service_tier": "standard",
    }
