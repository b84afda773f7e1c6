"""A Bicep file: what it declares, in order, as values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeAlias

from tree_sitter import Node

from tests.deploy.bicep.syntax import Call, Constant, Expression, Text, expression, line_of, parse, parts_of, text_of


@dataclass(frozen=True, slots=True)
class NamedType:
    """`string`, `object[]`'s `object`, or a type that the file declares."""

    line: int
    name: str


@dataclass(frozen=True, slots=True)
class LiteralType:
    line: int
    value: str | int | bool | None


@dataclass(frozen=True, slots=True)
class UnionType:
    line: int
    options: tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class ArrayType:
    line: int
    item: Type


@dataclass(frozen=True, slots=True)
class NullableType:
    line: int
    type: Type


@dataclass(frozen=True, slots=True)
class RecordType:
    line: int
    properties: tuple[tuple[str, Type], ...]
    """`*` is the type of all other properties."""


Type: TypeAlias = NamedType | LiteralType | UnionType | ArrayType | NullableType | RecordType


@dataclass(frozen=True, slots=True)
class Declaration:
    """One declaration; what a kind does not have is empty."""

    kind: str
    """`param`, `var`, `resource`, `module`, `output`, `type`, `func` or `import`."""
    line: int
    name: str
    type: Type | None = None
    value: Expression | None = None
    decorators: tuple[Call, ...] = ()
    target: str = ""
    """The type and version of a resource, the path of a module or an import."""
    is_existing: bool = False
    parameters: tuple[tuple[str, Type], ...] = ()
    """Of a function."""

    def decorator(self, name: str) -> Call | None:
        return next((one for one in self.decorators if one.function == name), None)


@dataclass(frozen=True, slots=True)
class Import:
    """A type or a variable of another file."""

    line: int
    path: str
    name: str
    alias: str


@dataclass(frozen=True, slots=True)
class BicepFile:
    file: str
    scope: str
    declarations: tuple[Declaration, ...]
    imports: tuple[Import, ...] = field(default=())

    def of_kind(self, kind: str) -> list[Declaration]:
        return [one for one in self.declarations if one.kind == kind]


_KINDS = {
    "parameter_declaration": "param",
    "variable_declaration": "var",
    "resource_declaration": "resource",
    "module_declaration": "module",
    "output_declaration": "output",
    "type_declaration": "type",
    "user_defined_function": "func",
}


@lru_cache(maxsize=256)
def read(source: str, file: str) -> BicepFile:
    """Read a file.

    Raises:
        BicepSyntaxError: It does not parse.
    """
    scope, pending = "resourceGroup", tuple[Call, ...]()
    declarations: list[Declaration] = []
    imports: list[Import] = []
    for node in parts_of(parse(source, file)):
        match node.type:
            case "target_scope_assignment":
                scope = text_of(parts_of(node)[0]).strip("'")
            case "decorators":
                pending = _decorators(node)
                continue
            case "import_functionality":
                imports += _imports(node)
            case kind if kind in _KINDS:
                declarations.append(replace(_known(node), decorators=pending))
            case _:
                pass
        pending = ()
    return BicepFile(file, scope, tuple(declarations), tuple(imports))


def _decorators(node: Node) -> tuple[Call, ...]:
    read = [expression(parts_of(child)[0]) for child in parts_of(node)]
    return tuple(one for one in read if isinstance(one, Call))


def _imports(node: Node) -> list[Import]:
    *names, path = parts_of(node)
    found: list[Import] = []
    texts = [text_of(child) for child in node.children if child.type in ("identifier", "as", ",")]
    for part in " ".join(texts).split(","):
        name, _, alias = part.strip().partition(" as ")
        found.append(Import(line_of(node), text_of(path).strip("'"), name.strip(), (alias or name).strip()))
    assert names, "an import names something"
    return found


def _known(node: Node) -> Declaration:
    """The declaration, from the last time that the same text stood on the same line: mutants share nearly all of it."""
    key = (line_of(node), text_of(node))
    if key not in _read:
        _read[key] = _declaration(node)
    return _read[key]


_read: dict[tuple[int, str], Declaration] = {}


def _declaration(node: Node) -> Declaration:
    kind = _KINDS[node.type]
    parts = parts_of(node)
    name, rest = text_of(parts[0]), parts[1:]
    line = line_of(node)
    has_value = any(child.type in ("=", "=>") for child in node.children)
    value = rest[-1] if has_value and rest else None
    match kind:
        case "type":
            return Declaration(kind, line, name, type=type_of(rest[0]))
        case "resource" | "module":
            assert value is not None
            target = expression(rest[0])
            is_existing = any(child.type == "existing" for child in node.children)
            path = (target.literal or "") if isinstance(target, Text) else ""
            return Declaration(
                kind,
                line,
                name,
                value=expression(value),
                target=path,
                is_existing=is_existing,
            )
        case "func":
            return _function(node)
        case _:
            types = [child for child in rest if child.type == "type"]
            return Declaration(
                kind,
                line,
                name,
                type=type_of(types[0]) if types else None,
                value=expression(value) if value is not None else None,
            )


def _function(node: Node) -> Declaration:
    name, parameters, returns, body = parts_of(node)
    return Declaration(
        "func",
        line_of(node),
        text_of(name),
        type=type_of(returns),
        value=expression(body),
        parameters=tuple((text_of(parts_of(one)[0]), type_of(parts_of(one)[1])) for one in parts_of(parameters)),
    )


def type_of(node: Node) -> Type:
    """Read a type."""
    line, parts = line_of(node), parts_of(node)
    match node.type:
        case "type" | "parenthesized_type":
            return type_of(parts[0])
        case "array_type":
            return ArrayType(line, type_of(parts[0]))
        case "nullable_type":
            return NullableType(line, type_of(parts[0]))
        case "union_type" | "binary_expression":  # The grammar sees the end of a union as an operation.
            return UnionType(line, tuple(type_of(part) for part in parts))
        case "object":
            pairs = [child for child in parts if child.type == "object_property"]
            return RecordType(line, tuple(_field(pair) for pair in pairs))
        case "string" | "number" | "boolean" | "null":
            return _literal(node)
        case _:
            return NamedType(line, text_of(node))


def _literal(node: Node) -> LiteralType:
    value = expression(node)
    if isinstance(value, Text):
        return LiteralType(line_of(node), value.literal)
    assert isinstance(value, Constant)
    return LiteralType(line_of(node), value.value)


def _field(node: Node) -> tuple[str, Type]:
    parts = parts_of(node)
    return (text_of(parts[0]).strip("'") if len(parts) > 1 else "*", type_of(parts[-1]))
