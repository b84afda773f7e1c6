"""Builds the request body that the SDK gets.

The host validates and uses its own parsed request. The SDK's schema is narrower than the protocol: it refuses items
that agents send, and values that it does not know. The SDK therefore gets only the fields that it acts on, and the host
stores the input. Only a background turn that the SDK may resume after a crash is passed whole, in a form that its
schema accepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hostedagent.protocol.content import BY_ITEM
from hostedagent.protocol.content.passthrough import OUTPUT_ONLY
from hostedagent.protocol.json import encode
from hostedagent.protocol.request.body import RequestBody
from hostedagent.protocol.request.options import OPTIONS
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.types import Item, Json
from hostedagent.protocol.values import fields_of, is_array, rows_of

MAX_RESUMABLE: Final = 10 * 1024 * 1024 - 16 * 1024
"""Bytes of a request that the SDK can keep for a turn that it resumes: its limit, less what it stores beside it."""

_NOT_INPUT: Final = frozenset({*OUTPUT_ONLY, "oauth_consent_request"})
"""Item types that the protocol sends and the SDK does not take back."""

_ACTED_ON: Final = (
    *("model", "metadata", "stream", "store", "background", "previous_response_id", "conversation"),
    *("agent_reference", "agent_session_id"),
)
"""The fields that the SDK acts on."""

_WITHOUT_EFFECT: Final = frozenset(
    name for name, row in OPTIONS.items() if row.verdict == "fixed" and name not in ("model", "metadata")
)


def whole(body: RequestBody, request: TurnRequest) -> bytes:
    """The whole body, for a turn that the SDK may resume; the caller's own bytes if the schema accepts them."""
    fields, has_all_tools = _fields(body, request)
    items = rows_of(fields.get("input"))
    rewritten = [_item(item) for item in items]
    is_same = all(new is old for new, old in zip(rewritten, items, strict=True))
    if body.raw is not None and is_same and has_all_tools and len(fields) == len(body.fields):
        return body.raw
    return encode(fields if is_same else {**fields, "input": rewritten})


def escaped_size(data: bytes) -> int:
    r"""The bytes of a JSON text in UTF-8 whose characters beyond ASCII are `\u` escapes, as the SDK stores it."""
    text = data.decode()
    beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
    surrogate_pairs = len(text.encode("utf-16-le")) // 2 - len(text)
    return len(text) + 5 * beyond_ascii + 6 * surrogate_pairs


def without_input(body: RequestBody) -> tuple[bytes, Sequence[Item] | None]:
    """The body of any other turn, and the input items that the host stores; `None` for string input."""
    fields = {name: body.fields[name] for name in _ACTED_ON if name in body.fields}
    given = body.fields["input"]
    if not is_array(given):
        return encode({**fields, "input": given}), None
    return encode({**fields, "input": ""}), [row for row in rows_of(given) if row.get("type") != "item_reference"]


def _fields(body: RequestBody, request: TurnRequest) -> tuple[dict[str, Json], bool]:
    """The fields that have an effect, and whether all of the caller's tools are among them."""
    fields = {name: row for name, row in body.fields.items() if name not in _WITHOUT_EFFECT}
    tools = request.options.tools.echo
    has_all_tools = len(tools) == len(fields.get("tools") or ())
    if not has_all_tools:
        fields["tools"] = list(tools)
    return fields, has_all_tools


def _item(item: Item) -> Item:
    kind = item.get("type")
    if kind in _NOT_INPUT:
        read = BY_ITEM[str(kind)].read
        text = " ".join(content.text or "" for content in read(item)) if read is not None else ""
        part = {"type": "output_text", "text": text, "annotations": list[Json]()}
        return {"type": "message", "role": "assistant", "content": [part]}
    name = "output" if "output" in item else "content"
    parts = item.get(name)
    if not is_array(parts) or not any(_is_audio(part) for part in parts):
        return item
    return {**item, name: [_audio_file(part) if _is_audio(part) else part for part in parts]}


def _is_audio(part: Json) -> bool:
    return fields_of(part).get("type") == "input_audio"


def _audio_file(part: Item) -> Item:
    """Audio as a file, which is read back as the same content."""
    audio = part["input_audio"]
    kind = audio.get("format", "wav")
    return {"type": "input_file", "filename": f"audio.{kind}", "file_data": f"data:audio/{kind};base64,{audio['data']}"}
