"""Bounds of a request body. Each is a setting of `HostOptions`, checked once, before anything else looks at the body.

A body within the byte limit can still be expensive: what a request costs grows with the number of its values, items,
parts and tools, not with its bytes. The checks are linear in the number of values; nothing looks at each byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from hostedagent.errors import InvalidRequest
from hostedagent.options import HostOptions
from hostedagent.protocol.types import Json
from hostedagent.protocol.values import fields_of, is_object, rows_of


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
    items, tools = rows_of(payload.get("input")), rows_of(payload.get("tools"))
    counts = (
        ("input", "items", len(items), options.max_items),
        ("input", "content parts", _count_parts(items), options.max_parts),
        ("tools", "tools", len(tools), options.max_tools),
        ("include", "entries", len(rows_of(payload.get("include"))), options.max_include),
    )
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
