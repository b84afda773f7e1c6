"""What the names of a file stand for: parameters, variables, resources, modules, functions and types."""

from __future__ import annotations

from collections.abc import Callable

from tests.deploy.bicep.declarations import (
    ArrayType,
    BicepFile,
    Declaration,
    LiteralType,
    NamedType,
    NullableType,
    Type,
    UnionType,
)
from tests.deploy.bicep.program import Finding, Program
from tests.deploy.bicep.shapes import (
    ANYTHING,
    ARRAY,
    BOOL,
    INT,
    NULL,
    OBJECT,
    STRING,
    Either,
    Field,
    Fields,
    Many,
    Scalar,
    Shape,
    record,
)
from tests.deploy.bicep.syntax import Loop, Sequence, Text

_PLAIN: dict[str, Shape] = {"string": STRING, "int": INT, "bool": BOOL, "object": OBJECT, "array": ARRAY}


class Symbols:
    """The declarations of one file by name.

    Args:
        program: All files.
        file: The file.
        value_of: Says what the value of a variable is.
    """

    def __init__(self, program: Program, file: BicepFile, value_of: Callable[[Declaration], Shape]) -> None:
        self.program = program
        self.file = file
        self.used: set[str] = set()
        self.findings: dict[Finding, None] = {}
        self._value_of = value_of
        self._shapes: dict[str, Shape] = {}
        self.values = {one.name: one for one in file.declarations if one.kind in _VALUES}
        self.types = {one.name: one for one in file.declarations if one.kind == "type"}
        self.functions = {one.name: one for one in file.declarations if one.kind == "func"}

    def report(self, line: int, symbol: str, problem: str) -> None:
        self.findings[Finding(self.file.file, line, symbol, problem)] = None

    def shape(self, name: str) -> Shape | None:
        """What a name stands for; `None` when there is no such name."""
        declaration = self.values.get(name)
        if declaration is None:
            return None
        self.used.add(name)
        if name not in self._shapes:
            self._shapes[name] = ANYTHING  # A cycle ends here.
            self._shapes[name] = self._declared(declaration)
        return self._shapes[name]

    def _declared(self, declaration: Declaration) -> Shape:
        match declaration.kind:
            case "param":
                return self.parameter(declaration)
            case "var":
                return self._value_of(declaration)
            case "resource":
                found = self.program.types.find(declaration.target)
                return _looped(declaration, found.body if found else ANYTHING)
            case _:
                return _looped(declaration, self._module(declaration))

    def _module(self, declaration: Declaration) -> Shape:
        target = self.program.beside(self.file, declaration.target)
        if target is None:
            return ANYTHING
        other = Symbols(self.program, target, lambda _: ANYTHING)
        outputs = {one.name: Field(_always(other.typed(one.type))) for one in target.of_kind("output")}
        return record(declaration.name, name=STRING, outputs=Fields(f"outputs of {target.file}", outputs))

    def parameter(self, declaration: Declaration) -> Shape:
        """What may be given for a parameter."""
        allowed = declaration.decorator("allowed")
        if allowed and allowed.arguments and isinstance(allowed.arguments[0], Sequence):
            values = [one.literal for one in allowed.arguments[0].items if isinstance(one, Text)]
            return Scalar("string", frozenset(value for value in values if value is not None))
        return self.typed(declaration.type)

    def typed(self, type: Type | None) -> Shape:
        """The shape of a type."""
        match type:
            case None:
                return ANYTHING
            case NamedType(line, name):
                return self._named(line, name)
            case LiteralType(_, value):
                return _literal(value)
            case UnionType(_, options):
                return _union([self.typed(one) for one in options])
            case ArrayType(_, item):
                return Many(_always(self.typed(item)))
            case NullableType(_, inner):
                return Either((self.typed(inner), NULL))
            case _:
                rest = next((self.typed(one) for key, one in type.properties if key == "*"), None)
                fields = {
                    key: Field(_always(self.typed(one)), is_required=not isinstance(one, NullableType))
                    for key, one in type.properties
                    if key != "*"
                }
                return Fields("object", fields, _always(rest) if rest else None)

    def _named(self, line: int, name: str) -> Shape:
        if name in _PLAIN:
            return _PLAIN[name]
        self.used.add(name)
        if name in self.types:
            shape = self.typed(self.types[name].type)
            return Fields(name, shape.fields, shape.additional) if isinstance(shape, Fields) else shape
        for one in self.file.imports:
            if one.alias == name:
                return self._imported(one.path, one.name)
        self.report(line, name, "unknown type")
        return ANYTHING

    def _imported(self, path: str, name: str) -> Shape:
        target = self.program.beside(self.file, path)
        if target is None or name not in (one.name for one in target.of_kind("type")):
            return ANYTHING  # Reported where it is imported.
        return Symbols(self.program, target, lambda _: ANYTHING).typed(NamedType(0, name))


_VALUES = ("param", "var", "resource", "module")


def _looped(declaration: Declaration, shape: Shape) -> Shape:
    return Many(lambda: shape) if isinstance(declaration.value, Loop) else shape


def _always(shape: Shape) -> Callable[[], Shape]:
    return lambda: shape


def _literal(value: str | int | bool | None) -> Shape:
    match value:
        case None:
            return NULL
        case bool():
            return Scalar("bool", frozenset({value}))
        case int():
            return Scalar("int", frozenset({value}))
        case str():
            return Scalar("string", frozenset({value}))


def _union(options: list[Shape]) -> Shape:
    literals = [one for one in options if isinstance(one, Scalar) and one.kind == "string" and one.values]
    if len(literals) != len(options):
        return Either(tuple(options))
    return Scalar("string", frozenset(value for one in literals for value in one.values))
