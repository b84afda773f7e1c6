"""Typed access to values of unknown shape: JSON, and attributes of foreign objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeGuard

from hostedagent.protocol.types import Json

# Made once, because `dict | Mapping` is a new object at each use. Plain types first: checking an ABC takes longer.
_MAPPINGS: Final = (dict, Mapping)
_ROWS: Final = (list, tuple)


def is_object(value: object) -> TypeGuard[dict[str, Json]]:
    """Whether a parsed value is a JSON object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Json]]:
    """Whether a parsed value is a JSON array."""
    return isinstance(value, list)


def is_rows(value: object) -> TypeGuard[Sequence[Json]]:
    """Whether a value is an array: a list, or a tuple."""
    return isinstance(value, _ROWS)


def is_mapping(value: object) -> TypeGuard[Mapping[str, Json]]:
    """Whether a value is an object: a dictionary, or any other mapping."""
    return isinstance(value, _MAPPINGS)


def fields_of(value: object) -> Mapping[str, Json]:
    """The fields of an object; empty for anything else."""
    return value if is_mapping(value) else {}


def rows_of(value: object) -> Sequence[Json]:
    """The rows of an array, a list or a tuple; empty for anything else."""
    return value if is_rows(value) else ()


def each_of(value: object) -> Sequence[Json]:
    """The rows of an array, or any other value alone; nothing for `None`."""
    return value if is_rows(value) else () if value is None else (value,)


def joined_texts(value: object, separator: str = "") -> str | None:
    """The joined `text` fields of the objects in an array; `None` if there are none, or one is not a string."""
    texts = [row.get("text") for row in objects_of(value)]
    found = [text for text in texts if isinstance(text, str)]
    return separator.join(found) if found and len(found) == len(texts) else None


def objects_of(value: object) -> list[Mapping[str, Json]]:
    """The rows of an array that are objects."""
    return [row for row in rows_of(value) if is_mapping(row)]
