"""Checks of JSON values that callers send: each returns the value, or refuses it with its path in the request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.types import Item, Json
from hostedagent.protocol.values import is_mapping, is_rows

T = TypeVar("T")

Check: TypeAlias = Callable[[Json, str], T]
"""Takes a value and its path; raises `InvalidRequest`."""


def text(value: Json, param: str) -> str:
    """A string."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{param} must be a string.", param=param)
    return value


def filled(value: Json, param: str) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"{param} must be a non-empty string.", param=param)
    return value


def flag(value: Json, param: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise InvalidRequest(f"{param} must be true or false.", param=param)
    return value


def mapping(value: Json, param: str) -> Mapping[str, Json]:
    """An object."""
    if not is_mapping(value):
        raise InvalidRequest(f"{param} must be an object.", param=param)
    return value


def array(value: Json, param: str) -> Sequence[Json]:
    """An array."""
    if not is_rows(value):
        raise InvalidRequest(f"{param} must be an array.", param=param)
    return value


def texts(value: Json, param: str) -> Sequence[str]:
    """An array of strings."""
    if not is_rows(value) or not all(isinstance(row, str) for row in value):
        raise InvalidRequest(f"{param} must be an array of strings.", param=param)
    return value


def number(low: float, high: float) -> Check[float]:
    """A finite number in a closed range."""

    def check(value: Json, param: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise InvalidRequest(f"{param} must be a number from {low:g} to {high:g}, not {value!r}.", param=param)
        return value

    return check


def integer(low: int, high: int | None = None) -> Check[int]:
    """An integer in a closed range."""

    def check(value: Json, param: str) -> int:
        too_high = high is not None and isinstance(value, int) and value > high
        if isinstance(value, bool) or not isinstance(value, int) or value < low or too_high:
            end = f" to {high}" if high is not None else " or more"
            raise InvalidRequest(f"{param} must be an integer of {low}{end}, not {value!r}.", param=param)
        return value

    return check


def one_of(*values: str) -> Check[str]:
    """One of these strings."""

    def check(value: Json, param: str) -> str:
        if value not in values:
            raise InvalidRequest(f"{param} must be one of {', '.join(values)}, not {value!r}.", param=param)
        return value

    return check


def optional(check: Check[T], value: Json, param: str) -> T | None:
    """A value that may be null or absent."""
    return None if value is None else check(value, param)


def required_text(item: Item, name: str, *, may_be_empty: bool = False) -> str:
    """A string field of an item; raises `InvalidRequest` when it is missing, not a string, or empty but must not be."""
    value = item.get(name)
    if not isinstance(value, str) or not (value or may_be_empty):
        kind = "a string" if may_be_empty else "a non-empty string"
        raise InvalidRequest(f"{item.get('type')} needs {name}, {kind}.", param=name)
    return value


def required_texts(item: Mapping[str, Json], name: str, param: str) -> list[str]:
    """A field that is a non-empty array of strings."""
    rows = [row for row in array(item.get(name), param) if isinstance(row, str)]
    if not rows or len(rows) != len(item[name]):
        raise InvalidRequest(f"{param} must be a non-empty array of strings.", param=param)
    return rows


def optional_number(item: Mapping[str, Json], name: str, param: str) -> int | None:
    """A field that is a whole number, if it is there."""
    value = item.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise InvalidRequest(f"{param} must be a whole number.", param=param)
    return value
