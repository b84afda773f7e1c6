"""What a value can be: of a Bicep expression, a parameter, or a property of a resource."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["string", "int", "bool", "null"]
Value: TypeAlias = str | int | bool


@dataclass(frozen=True, slots=True)
class Anything:
    """Not known."""


@dataclass(frozen=True, slots=True)
class Scalar:
    kind: Kind
    values: frozenset[Value] = frozenset()
    """Those that are known; none says that all are allowed."""
    is_open: bool = False
    """Whether other values than the known ones are allowed."""


@dataclass(frozen=True, slots=True)
class Many:
    item: Callable[[], Shape]


@dataclass(frozen=True, slots=True)
class Field:
    shape: Callable[[], Shape]
    is_required: bool = False
    is_read_only: bool = False


@dataclass(frozen=True, slots=True)
class Fields:
    name: str
    fields: Mapping[str, Field]
    additional: Callable[[], Shape] | None = None
    """What other properties are; `None` when there are none."""


@dataclass(frozen=True, slots=True)
class Variants:
    """One of several records; a property says which."""

    name: str
    discriminator: str
    variants: Mapping[str, Fields]

    def any_of_them(self) -> Fields:
        """What may stand in it when it is not known which it is."""
        keys = {key: field for one in self.variants.values() for key, field in one.fields.items()}
        return Fields(self.name, {key: Field(self._any(key), False, keys[key].is_read_only) for key in keys})

    def _any(self, key: str) -> Callable[[], Shape]:
        def shape() -> Shape:
            shapes = [one.fields[key].shape() for one in self.variants.values() if key in one.fields]
            return Either(tuple({id(one): one for one in shapes}.values()))

        return shape


@dataclass(frozen=True, slots=True)
class Either:
    options: tuple[Shape, ...]


Shape: TypeAlias = Anything | Scalar | Many | Fields | Variants | Either

ANYTHING = Anything()
STRING, INT, BOOL, NULL = Scalar("string"), Scalar("int"), Scalar("bool"), Scalar("null")
OBJECT = Fields("object", {}, additional=lambda: ANYTHING)
ARRAY = Many(lambda: ANYTHING)


def many(item: Shape) -> Many:
    return Many(lambda: item)


def record(name: str, /, **fields: Shape) -> Fields:
    return Fields(name, {key: Field(_always(shape)) for key, shape in fields.items()})


def _always(shape: Shape) -> Callable[[], Shape]:
    return lambda: shape


def spoken(shape: Shape) -> str:
    """The shape in words."""
    match shape:
        case Anything():
            return "anything"
        case Scalar(kind, values, is_open):
            return " | ".join(repr(one) for one in sorted(values, key=str)) if values and not is_open else kind
        case Many():
            return "array"
        case Fields(name):
            return name
        case Variants(name):
            return name
        case Either(options):
            return " | ".join(spoken(one) for one in options)


def mismatch(given: Shape, wanted: Shape) -> str | None:
    """Why a value of the one shape cannot stand where the other is wanted; `None` when it can, or is not known."""
    match given, wanted:
        case (Anything(), _) | (_, Anything()) | (Scalar("null"), _):
            return None
        case Either(options), _:
            return next((why for one in options if (why := mismatch(one, wanted))), None)
        case _, Either(options):
            whys = [mismatch(given, one) for one in options]
            return None if None in whys else f"{spoken(given)} is not {spoken(wanted)}"
        case Scalar(), Scalar():
            return _scalar_mismatch(given, wanted)
        case Many(item), Many(other):
            return mismatch(item(), other())
        case Fields(), Fields():
            return _fields_mismatch(given, wanted)
        case (Fields(), Variants()) | (Variants(), Fields() | Variants()):
            return None
        case _:
            return f"{spoken(given)} is not {spoken(wanted)}"


def _scalar_mismatch(given: Scalar, wanted: Scalar) -> str | None:
    if given.kind != wanted.kind:
        return f"{spoken(given)} is not {spoken(wanted)}"
    for value in sorted(given.values, key=str) if wanted.values else ():
        if value in wanted.values:
            continue
        similar = difflib.get_close_matches(str(value).lower(), [str(one).lower() for one in wanted.values], 1, 0.8)
        if not wanted.is_open or similar:
            return f"{value!r} is not one of {', '.join(repr(one) for one in sorted(wanted.values, key=str)[:8])}"
    return None


def _fields_mismatch(given: Fields, wanted: Fields) -> str | None:
    if given.additional is None:
        for key, field in wanted.fields.items():
            if field.is_required and key not in given.fields:
                return f"{given.name} has no {key!r}"
    for key, field in given.fields.items():
        other = wanted.fields.get(key)
        if other is None and wanted.additional is None:
            return f"{wanted.name} has no {key!r}"
        if other is not None and (why := mismatch(field.shape(), other.shape())):
            return f"{key}: {why}"
    return None
