"""The body of a request: bytes to a JSON object, strictly, because what is lenient here breaks something later."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Final, Never, cast

from hostedagent.errors import InvalidRequest
from hostedagent.types import Json

_MEMORY: Final = "internal_metadata"
"""The field of an item that the SDK stores and never shows."""

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_body(body: bytes, *, max_depth: int) -> Mapping[str, Json]:
    """Parse a JSON object strictly.

    Raises:
        InvalidRequest: It is not UTF-8 JSON, not an object, holds NaN, infinity or a lone surrogate, or is nested
            deeper than `max_depth`.
    """
    try:
        # Decoded here: given bytes, json guesses the encoding and lets surrogates pass.
        payload = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise InvalidRequest(f"The request body is nested deeper than {max_depth} levels.") from None
    except ValueError:
        raise InvalidRequest("The request body is not valid JSON in UTF-8.") from None
    if not isinstance(payload, dict):
        raise InvalidRequest("The request body must be a JSON object.")
    if body.count(b"[") + body.count(b"{") > max_depth and _depth_exceeds(payload, max_depth):  # pyright: ignore[reportUnknownArgumentType]
        raise InvalidRequest(f"The request body is nested deeper than {max_depth} levels.")
    if _SURROGATE.search(body):
        _refuse_surrogates(payload)  # pyright: ignore[reportUnknownArgumentType]
    return cast("dict[str, Json]", payload)


def _refuse_constant(name: str) -> Never:
    raise ValueError(name)


def _finite(number: str) -> float:
    if math.isinf(value := float(number)):
        raise ValueError(number)
    return value


def _refuse_surrogates(payload: Json) -> None:
    try:
        json.dumps(payload, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidRequest("The request body holds a lone surrogate, which is not a character.") from None


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
    return json.dumps(wanted).encode()


def is_bare_reference(item: Mapping[str, Json]) -> bool:
    """Whether an input item is nothing but the id of a stored one."""
    return set(item) == {"id"}
