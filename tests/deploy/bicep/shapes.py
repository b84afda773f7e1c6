"""What a value can be: that of an expression, of a parameter, or of a property of a resource."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Shape:
    """A set of values. It can be filled after it is made, because the types of resources contain themselves."""

    kind: str  # `string`, `int`, `bool`, `null`, `array`, `object`, `either` or `any`.
    name: str = ""  # What messages call it.
    value: str | None = None  # The one string that it allows.
    item: Shape | None = None  # Each item of an array, or each property of an object beside its `fields`.
    fields: dict[str, Shape] = field(default_factory=dict["str", "Shape"])
    required: set[str] = field(default_factory=set[str])
    read_only: set[str] = field(default_factory=set[str])
    options: tuple[Shape, ...] = ()  # Those of which it is one.
    discriminator: str = ""  # The property whose value says which of the variants an object is.
    variants: dict[str, Shape] = field(default_factory=dict["str", "Shape"])
    scopes: int = 0  # Flags of where a resource can be written.

    def __str__(self) -> str:
        if self.options:
            return " | ".join(str(one) for one in self.options[:8])
        return self.name or (self.kind if self.value is None else repr(self.value))


ANYTHING = Shape("any")
ANYTHING.item = ANYTHING
STRING, INT, BOOL, NULL = Shape("string"), Shape("int"), Shape("bool"), Shape("null")
OBJECT, ARRAY = Shape("object", item=ANYTHING), Shape("array", item=ANYTHING)


def array(item: Shape) -> Shape:
    return Shape("array", item=item)


def either(*options: Shape) -> Shape:
    """One of the options; anything when there is none."""
    if len(options) < 2 or ANYTHING in options:
        return options[0] if len(options) == 1 else ANYTHING
    return Shape("either", options=options)


def literals(*values: str) -> Shape:
    return either(*(Shape("string", value=value) for value in values))


def member(of: Shape, name: str) -> Shape | None:
    """A property; `None` when there is no such property."""
    if of.options:
        found = [shape for one in of.options if one.kind != "null" and (shape := member(one, name))]
        return either(*found) if found else None
    return of.fields.get(name) or (None if of.kind == "array" else of.item)


def mismatch(given: Shape, wanted: Shape) -> str | None:
    """Why a value of the one shape cannot stand where the other is wanted; `None` when it can, or is not known."""
    if given is wanted or given.kind in ("any", "null") or wanted.kind == "any":
        return None
    if given.options:
        return next((why for one in given.options if (why := mismatch(one, wanted))), None)
    if wanted.options:  # An enumeration may allow any other string, but none that is in it but for its case.
        similar = [one for one in wanted.options if one.value and one.value.lower() == (given.value or "").lower()]
        fits = any(mismatch(given, one) is None for one in similar or wanted.options)
        return None if fits else f"{given} is not {wanted}"
    if given.kind != wanted.kind or (None not in (given.value, wanted.value) and given.value != wanted.value):
        return f"{given} is not {wanted}"
    if given.kind == "array":
        return mismatch(given.item or ANYTHING, wanted.item or ANYTHING)
    for key, shape in given.fields.items():
        other = member(wanted, key)
        if other is None or mismatch(shape, other):
            return f"{given} with {key!r} is not {wanted}"
    return None
