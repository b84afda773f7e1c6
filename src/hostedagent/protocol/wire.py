"""Converts values for the wire: JSON in UTF-8, which has no lone surrogates, no NaN and no infinity.

Agents and model clients may produce any Python value. Streamed text may be split inside a surrogate pair, so the second
half is awaited; a lone surrogate becomes U+FFFD. NaN and infinity become null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, Final, cast

from pydantic import BaseModel

from hostedagent.protocol.types import Json


def wire_json(value: Json) -> str:
    """`value` as JSON text. Dataclasses and pydantic models become objects, other types strings, an exception its type.

    NaN and infinity become null: JSON cannot represent them, and JavaScript rejects Python's form.
    """
    try:
        text = json.dumps(value, default=_jsonable, ensure_ascii=False)
    except TypeError:  # A mapping whose names are neither texts nor numbers.
        text = json.dumps(_named(value), default=lambda row: _named(_jsonable(row)), ensure_ascii=False)
    if "NaN" in text or "Infinity" in text:
        text = json.dumps(json.loads(text, parse_constant=lambda name: None), ensure_ascii=False)
    return wire_text(text)


def _jsonable(value: object) -> Json:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return dict(cast("Mapping[Json, Json]", value))
    if isinstance(value, set | frozenset):
        return list(cast("set[Json]", value))
    return type(value).__name__ if isinstance(value, BaseException) else str(value)


def _named(value: Json) -> Json:
    """`value` with texts for the names of mappings."""
    if isinstance(value, dict):
        return {str(name): _named(row) for name, row in cast("dict[object, Json]", value).items()}
    return [_named(row) for row in cast("list[Json]", value)] if isinstance(value, list | tuple) else value


def wire_text(text: str) -> str:
    """`text` with surrogates paired, and lone ones replaced by U+FFFD because UTF-8 cannot represent them."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def wire_value(value: Any) -> Any:
    """`value` with only JSON types. Unchanged parts are not copied, and nothing is modified in place."""
    if _is_clean(value):
        return value
    kind = cast("type[object]", type(value))
    if kind is str:
        return wire_text(value)
    if kind is dict:
        rows: dict[Json, Json] = value
        clean = {
            name if type(name) is str and name.isascii() else wire_text(str(name)): wire_value(row)
            for name, row in rows.items()
        }
        return value if all(name in clean and clean[name] is row for name, row in rows.items()) else clean
    if kind is list:
        items: list[Json] = value
        found = [wire_value(row) for row in items]
        return value if all(one is other for one, other in zip(items, found, strict=True)) else found
    if kind is float:
        return value if math.isfinite(value) else None
    if value is None or kind is int or kind is bool:
        return value
    return _foreign(value)


def _are_clean_names(names: Iterable[object]) -> bool:
    for name in names:  # A loop, because a generator would cost more than the check.
        if type(name) is not str or not name.isascii():
            return False
    return True


_PLAIN: Final = frozenset({int, bool, type(None)})


def _is_clean(value: Any) -> bool:
    """Whether a quick check shows that a value needs no change, as for nearly every value."""
    kind: type[object] = type(value)  # pyright: ignore[reportUnknownVariableType]
    rows: Iterable[Any] = (value,)
    if kind is list:
        rows = value
    elif kind is dict:
        if not _are_clean_names(value):
            return False
        rows = value.values()
    for row in rows:  # A loop without calls for single values, because they would cost more than the check.
        kind = type(row)  # pyright: ignore[reportUnknownVariableType]
        if kind is str:
            if not row.isascii():
                return False
        elif kind is dict or kind is list:
            if not _is_clean(row):
                return False
        elif kind not in _PLAIN:
            return False
    return True


def _foreign(value: object) -> Json:
    """The closest JSON value for a value of another type."""
    if isinstance(value, Mapping):
        return wire_value(dict(cast("Mapping[Json, Json]", value)))
    if isinstance(value, tuple | set | frozenset):
        return [wire_value(row) for row in cast("tuple[Json, ...]", value)]
    return json.loads(wire_json(value))


class Characters:
    """Joins split surrogate pairs of streamed text."""

    __slots__ = ("half",)

    def __init__(self) -> None:
        self.half = ""
        """A high surrogate whose low surrogate has not arrived yet."""

    def take(self, text: str) -> str:
        """The complete characters including those of `text`; may be empty."""
        if not self.half and text.isascii():
            return text
        text = self.half + text
        self.half = text[-1] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return wire_text(text[:-1] if self.half else text)

    def rest(self) -> str:
        """The replacement for a lone surrogate at the end of the text."""
        half, self.half = self.half, ""
        return wire_text(half)
