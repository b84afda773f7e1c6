"""JSON values of the typed repositories, as records of a `Store`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from typing import Any, Final, TypeVar

from msgspec import Struct, convert
from msgspec.structs import astuple

from hostedagent.identity import Caller
from hostedagent.stores.base import (
    ABSENT,
    MAX_VALUE_BYTES,
    Etag,
    Key,
    Store,
    StoreConflict,
    StoreTooLarge,
    StoreUnavailable,
    Value,
    Write,
)

T = TypeVar("T")

_OWN: Final = f"{__name__.partition('.')[0]}."

ATTEMPTS: Final = 50
"""Attempts to write a record that others change: one of those who try at once succeeds, so this many may try."""


class Versioned(Struct, frozen=True):
    """A value and the etag that the next write must expect."""

    value: Value
    etag: Etag

    def load(self, kind: type[T]) -> T:
        """The struct of which this is the stored form; fields that an earlier version did not store have defaults."""
        return convert(self.value, kind)


async def read_value(store: Store, caller: Caller, key: Key) -> Versioned | None:
    """The value of a key, or `None`."""
    (found,) = await read_values(store, caller, [key])
    return found


async def read_values(store: Store, caller: Caller, keys: Sequence[Key]) -> list[Versioned | None]:
    """The values in the order of the keys."""
    records = await store.read(caller, keys)
    return [Versioned(json.loads(row.value), row.etag) if row is not None else None for row in records]


async def write_value(
    store: Store, caller: Caller, key: Key, value: Value | Struct, *, expect: Etag | None = None
) -> Etag:
    """Write one value and return its new etag.

    Raises:
        StoreConflict: `expect` does not match.
        StoreTooLarge: The value is larger than `MAX_VALUE_BYTES`.
        ValueError: The value is not JSON.
    """
    (etag,) = await store.write(caller, [Write(key, dump_value(key.kind, value), expect)])
    return etag


async def change_value(
    store: Store, caller: Caller, key: Key, change: Callable[[Value | None], Value | None], *more: Write
) -> None:
    """Replace a value by its successor; tried again while others change it. `None` stands for no value or no change.

    Raises:
        StoreUnavailable: The store is not available, or too many others change the value.
    """
    for _ in range(ATTEMPTS):
        found = await read_value(store, caller, key)
        if (value := change(found.value if found is not None else None)) is None:
            return
        write = Write(key, dump_value(key.kind, value), found.etag if found is not None else ABSENT)
        with suppress(StoreConflict):
            await store.write(caller, [*more, write])
            return
    raise StoreUnavailable(f"The record of kind {key.kind!r} is changed by too many others at once.")


def dump_value(kind: str, value: Value | Struct) -> bytes:
    """The compact JSON text of a value or of a struct, in ASCII so that a lone surrogate survives.

    Raises:
        StoreTooLarge: It is larger than `MAX_VALUE_BYTES`.
        ValueError: It is not JSON: an object of another type, or a number that JSON cannot represent.
    """
    try:
        text = _text(value, ensure_ascii=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"The value of {kind!r} is not JSON: {error}") from None
    if len(text) > MAX_VALUE_BYTES and _utf8_bytes(value) > MAX_VALUE_BYTES:
        raise StoreTooLarge(f"The value of {kind!r} has more than {MAX_VALUE_BYTES} bytes.")
    return text.encode("ascii")


def _utf8_bytes(value: Value | Struct) -> int:
    return len(_text(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _text(value: Value | Struct, *, ensure_ascii: bool) -> str:
    plain = value if isinstance(value, Struct) else dict(value)
    return json.dumps(plain, ensure_ascii=ensure_ascii, separators=(",", ":"), allow_nan=False, default=_fields)


def _fields(value: object) -> dict[str, Any]:
    """The fields of a struct or a dataclass of this package, under their stored names."""
    if type(value).__module__.startswith(_OWN):  # An application's, in a session, would not be restored as it was.
        if isinstance(value, Struct):
            return dict(zip(value.__struct_encode_fields__, astuple(value), strict=True))
        if is_dataclass(value) and not isinstance(value, type):
            return asdict(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
