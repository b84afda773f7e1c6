"""Validates fields of items that callers send; errors use the field names of the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.types import Item, Json
from hostedagent.protocol.values import is_mapping, is_rows


def required_text(item: Item, name: str, *, may_be_empty: bool = False) -> str:
    """A string field; raises `InvalidRequest` when it is missing, not a string, or empty although it must not be."""
    value = item.get(name)
    if not isinstance(value, str) or not (value or may_be_empty):
        kind = "a string" if may_be_empty else "a non-empty string"
        raise InvalidRequest(f"{item.get('type')} needs {name}, {kind}.", param=name)
    return value


def required_object(item: Item, name: str) -> Mapping[str, Json]:
    """A field that is an object; raises `InvalidRequest` when it is missing or not an object."""
    return as_object(item.get(name), name)


def required_texts(item: Mapping[str, Json], name: str, param: str) -> list[str]:
    """A field that is a non-empty array of strings.

    Raises:
        InvalidRequest: It is missing, empty, or contains another type.
    """
    rows = [row for row in as_array(item.get(name), param) if isinstance(row, str)]
    if not rows or len(rows) != len(item[name]):
        raise InvalidRequest(f"{param} must be a non-empty array of strings.", param=param)
    return rows


def optional_number(item: Mapping[str, Json], name: str, param: str) -> int | None:
    """An optional integer; raises `InvalidRequest` when it is of another type."""
    value = item.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise InvalidRequest(f"{param} must be a whole number.", param=param)
    return value


def as_object(value: object, param: str) -> Mapping[str, Json]:
    """`value`, if it is an object; raises `InvalidRequest` when it is not; the message names `param`."""
    if not is_mapping(value):
        raise InvalidRequest(f"{param} must be an object.", param=param)
    return value


def as_array(value: object, param: str) -> Sequence[Json]:
    """`value`, if it is an array; raises `InvalidRequest` when it is not; the message names `param`."""
    if not is_rows(value):
        raise InvalidRequest(f"{param} must be an array.", param=param)
    return value
