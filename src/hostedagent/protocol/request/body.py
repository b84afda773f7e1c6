"""The body of a request: bytes to a JSON object, strictly, because what is lenient here breaks something later."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import Final, cast

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.json import decode_strictly, encode
from hostedagent.protocol.types import Json

_MEMORY: Final = "internal_metadata"
"""The field of an item that the SDK stores and never shows."""


def parse_body(body: bytes, *, max_depth: int) -> Mapping[str, Json]:
    """Parse a JSON object strictly.

    Raises:
        InvalidRequest: It is not UTF-8 JSON, not an object, holds NaN, infinity or a lone surrogate, or is nested
            deeper than `max_depth`.
    """
    try:
        payload: Json = decode_strictly(body.removeprefix(codecs.BOM_UTF8))
    except RecursionError:
        raise InvalidRequest(f"The request body is nested deeper than {max_depth} levels.") from None
    except ValueError:
        raise InvalidRequest(
            "The request body is not valid JSON in UTF-8; NaN, infinity and lone surrogates are refused too."
        ) from None
    if not isinstance(payload, dict):
        raise InvalidRequest("The request body must be a JSON object.")
    if body.count(b"[") + body.count(b"{") > max_depth and _depth_exceeds(payload, max_depth):
        raise InvalidRequest(f"The request body is nested deeper than {max_depth} levels.")
    return cast("dict[str, Json]", payload)


def _depth_exceeds(value: Json, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def _children(node: Json) -> list[Json]:
    rows = cast("dict[str, Json]", node).values() if isinstance(node, dict) else cast("list[Json]", node)
    return [row for row in rows if isinstance(row, dict | list)]


def without_memory(payload: Mapping[str, Json]) -> Mapping[str, Json]:
    """The body without what only the host may keep with an item: it would be taken for the host's own memory."""
    items = payload.get("input")
    if not isinstance(items, list) or not any(_MEMORY in item for item in _objects(items)):
        return payload
    return {**payload, "input": [_forget(item) for item in cast("list[Json]", items)]}


def _forget(item: Json) -> Json:
    if not isinstance(item, dict):
        return item
    return {name: value for name, value in cast("dict[str, Json]", item).items() if name != _MEMORY}


def _objects(items: Json) -> list[dict[str, Json]]:
    return [item for item in items if isinstance(item, dict)]


def for_sdk(payload: Mapping[str, Json], body: bytes | None = None) -> bytes:
    """The body as the SDK's schema has it: without fields that are null, and with the type of a bare reference.

    The protocol allows most nulls, and an item reference that is nothing but an id; the schema allows neither.

    Args:
        payload: The body, parsed.
        body: The body as it came, when `payload` is just that.
    """
    rows = _objects(payload["input"]) if isinstance(payload.get("input"), list) else []
    if body is not None and None not in payload.values() and not any(map(is_bare_reference, rows)):
        return body
    wanted = {name: value for name, value in payload.items() if value is not None}
    if rows:
        wanted["input"] = [{**row, "type": "item_reference"} if is_bare_reference(row) else row for row in rows]
    return encode(wanted)


def is_bare_reference(item: Mapping[str, Json]) -> bool:
    """Whether an input item is nothing but the id of a stored one."""
    return set(item) == {"id"}
