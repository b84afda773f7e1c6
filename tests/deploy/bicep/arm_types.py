"""The types of Azure's resources, from the JSON that Microsoft generates for its own compiler.

A file is a list; `{"$ref": "#/7"}` is its eighth element. Flags of a property: 1 required, 2 read-only. Scopes of a
resource: 4 subscription, 8 resource group, 16 another resource.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from tests.deploy.bicep.outlines import OUTLINES, outline
from tests.deploy.bicep.shapes import (
    ANYTHING,
    ARRAY,
    BOOL,
    INT,
    NULL,
    STRING,
    Either,
    Field,
    Fields,
    Many,
    Scalar,
    Shape,
    Value,
    Variants,
)

_REQUIRED, _READ_ONLY = 1, 2
SCOPES = {"tenant": 1, "managementGroup": 2, "subscription": 4, "resourceGroup": 8, "resource": 16}


@dataclass(frozen=True, slots=True)
class ResourceType:
    """One type in one API version."""

    name: str
    body: Shape
    scopes: int
    """Where it can be written."""


class ArmTypes:
    """Resource types by `Namespace/type@version`.

    Args:
        folder: The folder of the JSON files; `None` knows the outlines only.
    """

    def __init__(self, folder: Path | None) -> None:
        self._found: dict[str, Callable[[], ResourceType]] = {}
        for name, text in OUTLINES.items():
            self._found[name.lower()] = cache(partial(_outlined, name, text))
        for path in sorted(folder.glob("*.json")) if folder else ():
            elements: list[dict[str, Any]] = json.loads(path.read_text())
            reader = _Reader(elements)
            for element in elements:
                if element["$type"] == "ResourceType":
                    self._found[str(element["name"]).lower()] = cache(partial(reader.resource, element))
        self.is_complete = folder is not None

    def find(self, name: str) -> ResourceType | None:
        """The type, in any case."""
        found = self._found.get(name.lower())
        return found() if found else None

    def versions(self, name: str) -> list[str]:
        """The API versions that are known of a type."""
        return sorted(one.partition("@")[2] for one in self._found if one.partition("@")[0] == name.lower())


def _outlined(name: str, text: dict[str, Any]) -> ResourceType:
    return ResourceType(name, outline(name, text), SCOPES["resourceGroup"])


class _Reader:
    def __init__(self, elements: list[dict[str, Any]]) -> None:
        self._elements = elements
        self._read: dict[int, Shape] = {}

    def resource(self, element: dict[str, Any]) -> ResourceType:
        body = self.at(element["body"])()
        return ResourceType(str(element["name"]), body, int(element["writableScopes"]))

    def at(self, reference: dict[str, str]) -> Callable[[], Shape]:
        """The element, read when it is asked for: types contain themselves."""
        number = int(reference["$ref"].removeprefix("#/"))

        def shape() -> Shape:
            if number not in self._read:
                self._read[number] = self._shape(self._elements[number])
            return self._read[number]

        return shape

    def _shape(self, element: dict[str, Any]) -> Shape:
        match element["$type"]:
            case "StringLiteralType":
                return Scalar("string", frozenset({str(element["value"])}))
            case "UnionType":
                return _union([self.at(one)() for one in element["elements"]])
            case "ArrayType":
                return Many(self.at(element["itemType"]))
            case "ObjectType":
                return self._fields(element, element["properties"])
            case "DiscriminatedObjectType":
                return self._variants(element)
            case kind:
                return _PLAIN[kind]

    def _fields(self, element: dict[str, Any], properties: dict[str, Any]) -> Fields:
        fields = {
            key: Field(self.at(one["type"]), bool(one["flags"] & _REQUIRED), bool(one["flags"] & _READ_ONLY))
            for key, one in properties.items()
        }
        more = element.get("additionalProperties")
        return Fields(str(element["name"]), fields, self.at(more) if more else None)

    def _variants(self, element: dict[str, Any]) -> Variants:
        variants: dict[str, Fields] = {}
        for key, reference in element["elements"].items():
            special = self.at(reference)()
            assert isinstance(special, Fields)
            common = self._fields(element, element["baseProperties"])
            variants[key] = Fields(special.name, {**common.fields, **special.fields}, special.additional)
        return Variants(str(element["name"]), str(element["discriminator"]), variants)


_PLAIN: dict[str, Shape] = {
    "StringType": STRING,
    "IntegerType": INT,
    "BooleanType": BOOL,
    "NullType": NULL,
    "AnyType": ANYTHING,
    "BuiltInType": ANYTHING,
    "ResourceFunctionType": ANYTHING,
    "AnyArrayType": ARRAY,
}


def _union(options: list[Shape]) -> Shape:
    """An enumeration where all are strings; an open one where one of them is any string."""
    scalars = [one for one in options if isinstance(one, Scalar) and one.kind == "string"]
    if len(scalars) != len(options):
        return Either(tuple(options))
    values: frozenset[Value] = frozenset(value for one in scalars for value in one.values)
    return Scalar("string", values, is_open=any(not one.values for one in scalars))
