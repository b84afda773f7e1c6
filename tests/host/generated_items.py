"""Items as the `openai` library and Open Responses declare them, in the forms in which clients send them.

Of each declared type: every member of every union once, and each of these with all fields, with null in place of every
optional field at every depth, without them, and without its id and status.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, NotRequired, Required, Union, cast, get_args, get_origin

from openai.types.responses.response_input_item_param import ResponseInputItemParam
from typing_extensions import get_type_hints, is_typeddict

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

TEXTS: Mapping[str, str] = {
    "arguments": "{}",
    "image_url": f"data:image/png;base64,{PIXEL}",
    "file_data": "data:text/plain;base64,aGk=",
    "data": "AAAA",
    "url": "https://a.example/x",
    "file_url": "https://a.example/f.txt",
    "result": PIXEL,
    "filename": "a.txt",
    "call_id": "call_1",
}
"""What a field of this name holds; another one holds its name."""

_DEEPEST = 4

Item = dict[str, Any]
Forms = Iterator[tuple[str, Item]]


def forms(full: Item, nulled: Item) -> Forms:
    """The forms of one item, each once.

    Args:
        full: With all fields.
        nulled: With null in place of the optional ones.
    """
    found: list[Item] = []
    given = {
        "whole": full,
        "nulls": nulled,
        "required": cast("Item", _without_nulls(nulled)),
        "no id": {name: row for name, row in full.items() if name not in ("id", "status")},
    }
    for name, form in given.items():
        if form not in found:
            found.append(form)
            yield name, form


def declared_types() -> Mapping[str, Any]:
    """The types of input items of the `openai` library by their names."""
    return {kind.__name__: kind for kind in get_args(ResponseInputItemParam)}


def declared_items(kind: Any) -> Forms:
    """The items of a `TypedDict`."""
    for full in _mappings(kind, 0):
        yield from forms(full, _nulled(kind, full))


def _examples(kind: Any, name: str, depth: int) -> list[Any]:
    kind = _bare(kind)
    origin = get_origin(kind)
    if kind is type(None):
        return []
    if origin in (Union, types.UnionType):
        return [row for member in get_args(kind) for row in _examples(member, name, depth)]
    if origin is Literal:
        return list(get_args(kind))
    if is_typeddict(kind):
        return _mappings(kind, depth + 1)
    if _is_list(kind):
        return [[row] for row in _examples(get_args(kind)[0], name, depth)] or [[]]
    if origin in (dict, Mapping):
        return [{}]
    simple: Mapping[Any, Any] = {bool: True, int: 1, float: 1.0}
    return [simple.get(kind, TEXTS.get(name, name))]


def _mappings(kind: Any, depth: int) -> list[Item]:
    choices = {name: _examples(field, name, depth) for name, field in _fields(kind).items()}
    first = {name: rows[0] for name, rows in choices.items() if rows}
    others = choices.items() if depth <= _DEEPEST else ()
    return [first, *({**first, name: row} for name, rows in others for row in rows[1:])]


def _nulled(kind: Any, value: Any) -> Any:
    kind = _bare(kind)
    if get_origin(kind) in (Union, types.UnionType):
        kind = next((member for member in map(_bare, get_args(kind)) if _fits(member, value)), None)
    if isinstance(value, list) and _is_list(kind):
        return [_nulled(get_args(kind)[0], row) for row in cast("list[Any]", value)]
    if not isinstance(value, dict) or not is_typeddict(kind):
        return cast("Any", value)
    item, required = cast("Item", value), _required(kind)
    fields = {name: field for name, field in _fields(kind).items() if name in item or name not in required}
    return {name: _nulled(field, item[name]) if name in required else None for name, field in fields.items()}


def _fits(kind: Any, value: Any) -> bool:
    if isinstance(value, list):
        return _is_list(kind)
    if not isinstance(value, dict) or not is_typeddict(kind):
        return False
    item, fields = cast("Item", value), _fields(kind)
    literals = {name: get_args(field) for name, field in fields.items() if get_origin(_bare(field)) is Literal}
    is_kind = all(item[name] in allowed for name, allowed in literals.items() if name in item)
    return is_kind and _required(kind) <= set(item) <= set(fields)


@cache
def _fields(kind: Any) -> Mapping[str, Any]:
    return get_type_hints(kind)


@cache
def _required(kind: Any) -> frozenset[str]:
    hints = get_type_hints(kind, include_extras=True)
    is_total = getattr(kind, "__total__", True)
    required = (
        name
        for name, hint in hints.items()
        if get_origin(hint) is Required or (is_total and get_origin(hint) is not NotRequired)
    )
    return frozenset(required)


def _bare(kind: Any) -> Any:
    while get_origin(kind) in (Required, NotRequired, Annotated):
        kind = get_args(kind)[0]
    return kind


def _is_list(kind: Any) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and origin is not dict and issubclass(origin, Iterable) and origin is not Mapping


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(row) for name, row in cast("Item", value).items() if row is not None}
    return [_without_nulls(row) for row in cast("list[Any]", value)] if isinstance(value, list) else value


def specified_items(schemas: Mapping[str, Any], schema: Mapping[str, Any]) -> Forms:
    """The items of a schema of Open Responses, each of whose unions is taken at its first member.

    Args:
        schemas: All schemas by name.
        schema: The schema.
    """
    yield from forms(_specified(schemas, schema, "", nulls=False), _specified(schemas, schema, "", nulls=True))


def _resolved(schemas: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema itself, in place of a reference to it or of a choice that it is the first of."""
    for name in ("anyOf", "oneOf", "allOf"):
        if name in schema:
            return _resolved(schemas, schema[name][0])
    ref: str | None = schema.get("$ref")
    return _resolved(schemas, schemas[ref.rpartition("/")[2]]) if ref else schema


def _specified(schemas: Mapping[str, Any], schema: Mapping[str, Any], name: str, *, nulls: bool) -> Any:
    schema = _resolved(schemas, schema)
    if values := schema.get("enum"):
        return values[0]
    match schema.get("type"):
        case "object":
            required, fields = schema.get("required", ()), schema.get("properties", {})
            return {
                key: None if nulls and key not in required else _specified(schemas, row, key, nulls=nulls)
                for key, row in fields.items()
            }
        case "array":
            return [_specified(schemas, schema["items"], name, nulls=nulls)]
        case "boolean":
            return True
        case "null":
            return None
        case "integer" | "number":
            return schema.get("minimum", 1)
        case _:
            return TEXTS.get(name, name)
