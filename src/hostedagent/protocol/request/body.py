"""The body of a request: bytes to a JSON object, strictly, bounded, and without what only looks like a value.

Strictness is here because a lenient reading breaks something later: a lone surrogate has no UTF-8 form, and NaN is no
JSON. Leniency is in `normalization`, which knows what clients leave out.

The bounds are settings of `HostOptions`, checked before anything else looks at the body: what a request costs grows
with the number of its values, items, parts and tools, not with its bytes. The checks are linear in that number.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from hostedagent.errors import InvalidRequest
from hostedagent.options import HostOptions
from hostedagent.protocol.json import decode_strictly
from hostedagent.protocol.request.normalization import normalize_body
from hostedagent.protocol.types import Json
from hostedagent.protocol.values import fields_of, is_object, rows_of


class RequestBody(Struct, frozen=True):
    """A parsed body.

    Args:
        raw: The bytes that say exactly the same, when the caller's do.
    """

    fields: Mapping[str, Json]
    raw: bytes | None = None


def parse_body(body: bytes, options: HostOptions) -> RequestBody:
    """Parse, bound and normalize a JSON object.

    Raises:
        InvalidRequest: As for `parse_object`.
    """
    payload, has_nulls = _parsed(body, options)
    normal = normalize_body(payload, has_nulls=has_nulls)
    return RequestBody(normal, body if normal is payload else None)


def parse_object(body: bytes, options: HostOptions) -> Mapping[str, Json]:
    """Parse and bound a JSON object, and leave it as it is.

    Raises:
        InvalidRequest: It is not UTF-8 JSON, not an object, holds NaN, infinity or a lone surrogate, or exceeds one of
            the limits in `options`.
    """
    return _parsed(body, options)[0]


def _parsed(body: bytes, options: HostOptions) -> tuple[Mapping[str, Json], bool]:
    """The object, and whether a field in it is null."""
    try:
        payload: Json = decode_strictly(body.removeprefix(codecs.BOM_UTF8))
    except RecursionError:
        raise too_deep(options) from None
    except ValueError:
        raise InvalidRequest(
            "The request body is not valid JSON in UTF-8; NaN, infinity and lone surrogates are refused too."
        ) from None
    if not is_object(payload):
        raise InvalidRequest("The request body must be a JSON object.")
    has_nulls = check_structure(payload, options)
    check_counts(payload, options)
    return payload, has_nulls


def check_structure(value: Json, options: HostOptions) -> bool:
    """Check how deep a body is nested and how many values it has.

    Returns:
        Whether a field of an object in it is null.

    Raises:
        InvalidRequest: It exceeds `max_depth` or `max_values`.
    """
    level, depth, count, has_nulls = _inside([[value]]), 0, 1, False
    while level:
        depth, count = depth + 1, count + sum(map(len, level))
        if depth > options.max_depth:
            raise too_deep(options)
        if count > options.max_values:
            raise InvalidRequest(
                f"The request body has more than {options.max_values:,} JSON values, which is the limit of this host."
            )
        has_nulls = has_nulls or any(None in node.values() for node in level if type(node) in _OBJECT)
        level = _inside(level)
    return has_nulls


def too_deep(options: HostOptions) -> InvalidRequest:
    """The refusal of a body that is nested too deeply."""
    return InvalidRequest(f"The request body is nested deeper than {options.max_depth} levels.")


def check_counts(payload: Mapping[str, Json], options: HostOptions) -> None:
    """Check the lists of a request and the schemas in it.

    Raises:
        InvalidRequest: One is longer, or one schema is deeper, than this host accepts; `param` names it.
    """
    tools = rows_of(payload.get("tools"))
    counts = [
        ("tools", "tools", len(tools), options.max_tools),
        ("include", "entries", len(rows_of(payload.get("include"))), options.max_include),
    ]
    for name in payload.keys() & _ITEMS:
        items = rows_of(payload[name])
        counts.append((name, "items", len(items), options.max_items))
        counts.append((name, "content parts", _count_parts(items), options.max_parts))
    for param, noun, count, most in counts:
        if count > most:
            raise InvalidRequest(f"{param} has {count:,} {noun}; this host accepts at most {most:,}.", param=param)
    for param, schema in _schemas(tools, payload.get("text")):
        if depth_exceeds(schema, options.max_schema_depth):
            raise InvalidRequest(f"{param} is nested deeper than {options.max_schema_depth} levels.", param=param)


def depth_exceeds(value: Json, limit: int) -> bool:
    """Whether objects and arrays are nested deeper than `limit` levels."""
    level = _inside([[value]])
    for _ in range(limit):
        level = _inside(level)
        if not level:
            return False
    return True


_ITEMS: Final = frozenset({"input", "items"})
"""The fields with items, of a response and of a conversation."""

_OBJECT: Final = frozenset({dict})
_ARRAY: Final = frozenset({list})
_EITHER: Final = _OBJECT | _ARRAY


def _inside(level: Sequence[Json]) -> list[Json]:
    """The objects and arrays inside those of a level."""
    return [row for node in level for row in (node.values() if type(node) in _OBJECT else node) if type(row) in _EITHER]


def _count_parts(items: Sequence[Json]) -> int:
    return sum([len(row) for item in items if type(item) in _OBJECT for row in item.values() if type(row) in _ARRAY])


def _schemas(tools: Sequence[Json], text: Json) -> Iterator[tuple[str, Json]]:
    for n, tool in enumerate(tools):
        if is_object(schema := fields_of(tool).get("parameters")):
            yield f"tools[{n}].parameters", schema
    if is_object(text) and is_object(schema := fields_of(text.get("format")).get("schema")):
        yield "text.format.schema", schema
