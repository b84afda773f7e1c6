"""What is wrong with Bicep: a walk over the expressions of a file, in search of what is not what is wanted there.

A declaration says what it wants of its value, and an expression hands that on to its parts: the branches of a
condition, the items of an array, the properties of an object. So a mistake is reported at the line of the innermost
part that is wrong. The walk also says what an expression is, for its context to compare and for a name to stand for.

The grammar binds `.name` and `[index]` weaker than operators: it reads `a ? b : c.d` as `(a ? b : c).d`. Accesses are
therefore handed on as well, to the last operand, which they belong to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from tree_sitter import Node

from tests.deploy.bicep import shapes
from tests.deploy.bicep.resource_types import SCOPES, ResourceTypes
from tests.deploy.bicep.shapes import ANYTHING, ARRAY, BOOL, INT, NULL, OBJECT, STRING, Shape, array, either, literals
from tests.deploy.bicep.syntax import BicepSyntaxError, Declaration, literal_of, pairs_of, parts_of, read, text_of

_TYPES = {"string": STRING, "int": INT, "bool": BOOL, "object": OBJECT, "array": ARRAY}
_CONSTANTS = {"number": INT, "boolean": BOOL, "null": NULL, "string_content": STRING, "escape_sequence": STRING}
_OPERANDS = {"&&": BOOL, "||": BOOL, "!": BOOL, **dict.fromkeys("+-*/%", INT)}
"""What an operator takes and gives; those that are missing compare."""
_LINKS = {"parent": ANYTHING, "scope": ANYTHING, "dependsOn": array(either(OBJECT, ARRAY))}  # Of any resource.
_DECORATORS = "allowed batchSize description export maxLength maxValue metadata minLength minValue secure".split()
_FUNCTIONS = {
    name: (least, most, gives)
    for least, most, gives, names in (
        (0, 2, ANYTHING, "environment resourceGroup subscription"),
        (1, 1, ANYTHING, "any array bool empty first flatten int items json last length max min objectKeys"),
        (1, 1, STRING, "base64 base64ToString string toLower toUpper trim"),
        (1, 99, ANYTHING, "concat union"),
        (1, 99, STRING, "format guid uniqueString"),
        (2, 2, ANYTHING, "contains endsWith indexOf intersection range skip startsWith take"),
        (2, 2, STRING, "join uri"),
        (2, 2, array(STRING), "split"),
        (2, 99, STRING, "extensionResourceId resourceId subscriptionResourceId tenantResourceId"),
        (3, 3, STRING, "cidrSubnet replace"),
    )
    for name in names.split()
}
"""How many arguments a function takes, and what it gives, unless an outline says that."""
_Locals = Mapping[str, Shape]  # The variables of the loops around an expression.


class Program:
    """The files of a folder by their path in it, and the types of resources. Raises `BicepSyntaxError`."""

    def __init__(self, sources: Mapping[str, str], types: ResourceTypes) -> None:
        self.files = {path: read(source, path) for path, source in sources.items()}
        self.types = types

    def check(self, paths: Iterable[str] = ()) -> list[str]:
        """Everything that is wrong with all files, or with some of them, as `file:line: problem`."""
        return sorted({finding for path in paths or self.files for finding in FileChecker(self, path).check()})


class FileChecker:
    """One file of a program: what its names stand for, what its expressions are, and what is wrong with them."""

    def __init__(self, program: Program, path: str) -> None:
        self._program = program
        self._file = program.files[path]
        self._names = {one.name: one for one in self._file.declarations if one.kind != "output"}
        self._shapes: dict[str, Shape] = {}
        self._used: set[str] = set()
        self._findings: set[str] = set()

    def check(self) -> set[str]:
        for one in self._file.declarations:
            self._check_value(one)
            for name, call in one.decorators.items():
                if name not in _DECORATORS:
                    self._report(call, f"@{name}: is no decorator")
                if name == "batchSize" and "for_statement" not in one.tokens:
                    self._report(call, f"@{name}: needs a loop")
        for one in self._file.declarations:
            if one.kind != "output" and self._names[one.name] is not one:
                self._report(self._names[one.name].node, f"{one.name}: declared twice")
            is_exported = one.kind == "type" and "export" in one.decorators
            is_deployed = one.kind in ("module", "output") or (one.kind == "resource" and "existing" not in one.tokens)
            if not is_exported and not is_deployed and one.name not in self._used:
                self._report(one.node, f"{one.name} is never used")
        return self._findings

    def parameters(self) -> Shape:
        """What the file is given, as an object."""
        params = self._file.of_kind("param")
        fields = {name: self._shape(one) for name, one in params.items()}
        required = {name for name, one in params.items() if one.value is None and NULL not in fields[name].options}
        return Shape("object", self._file.path, fields=fields, required=required)

    def _report(self, node: Node, problem: str) -> None:
        self._findings.add(f"{self._file.path}:{node.start_point.row + 1}: {problem}")

    def _check_value(self, declaration: Declaration) -> None:
        wanted = ANYTHING if declaration.kind == "var" else self._shape(declaration)
        if declaration.kind == "resource":
            wanted = self._wanted(declaration, wanted)
        if declaration.value:
            is_list = "for_statement" in declaration.tokens and declaration.target
            self._value(declaration.value, array(wanted) if is_list else wanted, {})

    def _wanted(self, declaration: Declaration, body: Shape) -> Shape:
        """What is wanted of a resource of a type. Its parent is of the type above."""
        properties, kind, types = declaration.properties, declaration.target.partition("@")[0], self._program.types
        above = kind.rpartition("/")[0]
        if body is ANYTHING and types.is_complete:
            known = sorted(name for name in types.bodies if name.startswith(f"{kind.lower()}@"))
            self._report(declaration.node, f"unknown type {declaration.target}: known are {known}")
        if body is ANYTHING:
            return ANYTHING
        if "parent" in properties:
            found = self._names.get(text_of(properties["parent"]).partition("[")[0])
            if found and found.target.partition("@")[0] != above:
                self._report(properties["parent"], f"{found.name}: cannot be the parent of a {kind}")
        elif "/" in above and "/" not in text_of(properties.get("name", declaration.node)):
            self._report(declaration.node, f"{declaration.name}: needs a parent of type {above}")
        if "existing" in declaration.tokens:
            return Shape("object", "an existing resource", fields={"name": STRING, **_LINKS}, required={"name"})
        scope = properties.get("scope")
        where = self._file.scope if scope is None else "resource" if scope.type == "identifier" else None
        if where and not body.scopes & SCOPES[where]:
            self._report(declaration.node, f"{kind} cannot be in a {where}")
        return replace(body, fields=body.fields | _LINKS)

    def _named(self, node: Node, *, is_type: bool) -> Shape:
        """What a name stands for, among types or among values."""
        name = text_of(node)
        found = self._names.get(name)
        if found is None or (found.kind in ("type", "import")) != is_type:
            self._report(node, f"{name}: unknown {'type' if is_type else 'symbol'}")
            return ANYTHING
        self._used.add(name)
        if name not in self._shapes:
            self._shapes[name] = ANYTHING  # A cycle ends here.
            shape = self._shape(found)
            self._shapes[name] = array(shape) if "for_statement" in found.tokens and found.target else shape
        return self._shapes[name]

    def _shape(self, declaration: Declaration) -> Shape:
        """What a declaration stands for, or one turn of it when it is a loop."""
        match declaration.kind:
            case "resource":
                return self._program.types.bodies.get(declaration.target.lower(), ANYTHING)
            case "module" | "import" if declaration.target not in self._program.files:
                self._report(declaration.node, f"no such file: {declaration.target}")
                return ANYTHING
            case "module":
                return self._module(declaration, FileChecker(self._program, declaration.target))
            case "import":
                other = FileChecker(self._program, declaration.target)
                found = other._names.get(declaration.name)
                if found is None or "export" not in found.decorators:
                    self._report(declaration.node, f"{declaration.name}: {declaration.target} exports no such thing")
                return other._shape(found) if found else ANYTHING
            case "var" if declaration.value:
                return self._value(declaration.value, ANYTHING, {})
            case _ if "allowed" in declaration.decorators:
                return literals(*re.findall("'(.*?)'", text_of(declaration.decorators["allowed"])))
            case _:
                return self._type(declaration.type, declaration.name) if declaration.type else ANYTHING

    def _module(self, declaration: Declaration, other: FileChecker) -> Shape:
        if other._file.scope != self._file.scope and "scope" not in declaration.properties:
            self._report(declaration.node, f"{declaration.name}: needs a scope, a {other._file.scope}")
        given, outputs = other.parameters(), Shape("object", f"outputs of {declaration.target}")
        outputs.fields = {name: other._shape(one) for name, one in other._file.of_kind("output").items()}
        fields = {"name": STRING, "params": given, "outputs": outputs, **_LINKS}
        return Shape("object", "module", fields=fields, required={"params"} if given.required else set())

    def _type(self, node: Node, name: str = "") -> Shape:
        node = parts_of(node)[0] if node.type == "type" else node
        text = text_of(node)
        if node.type == "object":
            fields = {key: self._type(type) for key, _, type in pairs_of(node)}
            required = {key for key, shape in fields.items() if NULL not in shape.options}
            return Shape("object", name, fields=fields, required=required)
        if text.startswith("'"):
            return literals(*re.findall("'(.*?)'", text))
        if text.endswith("[]"):
            return array(self._type(parts_of(node)[0]))
        if text.endswith("?"):
            return either(self._type(parts_of(node)[0]), NULL)
        return _TYPES.get(text) or self._named(node, is_type=True)

    def _value(self, node: Node, wanted: Shape, local: _Locals, accesses: tuple[Node, ...] = ()) -> Shape:
        """What an expression is with these accesses behind it; reported where it is not `wanted`."""
        parts = parts_of(node)
        match node.type:
            case "member_expression" | "subscript_expression":
                return self._value(parts[0], wanted, local, (parts[1], *accesses))
            case "ternary_expression" | "if_statement":
                self._value(parts[0], BOOL, local)
                options = [self._value(one, wanted, local) for one in parts[1:-1]]
                return either(*options, self._value(parts[-1], wanted, local, accesses))
            case "object":
                return self._record(node, self._opened(node, wanted, "object"), local)
            case "array":
                item = self._opened(node, wanted, "array").item or ANYTHING
                return array(either(*(self._value(one, item, local) for one in parts)))
            case "for_statement":
                return self._loop(parts, self._opened(node, wanted, "array").item or ANYTHING, local)
            case "binary_expression" | "unary_expression":
                given = self._operation(node, local, accesses)
            case _:
                given = self._single(node, ANYTHING if accesses else wanted, local)
                for access in accesses:
                    given = self._access(given, access, local)
        if problem := shapes.mismatch(given, wanted):
            self._report(node, problem)
        return given

    def _opened(self, node: Node, wanted: Shape, kind: str) -> Shape:
        """The object or the array that is wanted, where one is given."""
        found = next((one for one in wanted.options or (wanted,) if one.kind in (kind, "any")), None)
        if found is None:
            self._report(node, f"{kind} is not {wanted}")
        return found or ANYTHING

    def _record(self, node: Node, wanted: Shape, local: _Locals) -> Shape:
        given = Shape("object")
        for name, _, value in pairs_of(node):
            if name == wanted.discriminator:
                wanted = wanted.variants.get(literal_of(value) or "", wanted)
        for name, key, value in pairs_of(node):
            inner = wanted.fields.get(name) or wanted.item
            if inner is None:
                self._report(key, f"{wanted} has no {name!r}")
            if name in wanted.read_only or name in given.fields:
                self._report(key, f"{name} is {'given twice' if name in given.fields else 'read-only'}")
            if "${" in name:
                self._value(key, STRING, local)
                given.item = ANYTHING
            given.fields[name] = self._value(value, inner or ANYTHING, local)
        for name in wanted.required - given.fields.keys():
            self._report(node, f"{wanted} needs {name!r}")
        return given

    def _loop(self, parts: list[Node], wanted: Shape, local: _Locals) -> Shape:
        names = [text_of(one) for one in parts_of(parts[0]) or parts[:1]]
        item = self._value(parts[1], ARRAY, local).item or ANYTHING
        return array(self._value(parts[2], wanted, {**local, **dict(zip(names, (item, INT), strict=False))}))

    def _operation(self, node: Node, local: _Locals, accesses: tuple[Node, ...]) -> Shape:
        *before, last = parts_of(node)
        sign = next(operator.type for operator in node.children_by_field_name("operator"))
        taken = _OPERANDS.get(sign, ANYTHING)
        given = [*(self._value(one, taken, local) for one in before), self._value(last, taken, local, accesses)]
        return either(*given) if sign == "??" else _OPERANDS.get(sign, BOOL)

    def _single(self, node: Node, wanted: Shape, local: _Locals) -> Shape:
        """What an expression is of which accesses follow the whole."""
        parts = parts_of(node)
        match node.type:
            case "identifier":
                behind = node.next_sibling  # In an array, the grammar reads some calls as two items that touch.
                if behind and behind.type == "parenthesized_expression" and behind.start_byte == node.end_byte:
                    return self._call(node, text_of(node), parts_of(behind), wanted, local)
                return local.get(text_of(node)) or self._named(node, is_type=False)
            case "string":
                for one in parts:
                    self._value(one, ANYTHING, local)
                text = literal_of(node)
                return STRING if text is None else literals(text)
            case "call_expression":
                return self._call(node, text_of(parts[0]), parts_of(parts[1]), wanted, local)
            case "parenthesized_expression" | "interpolation":
                return self._value(parts[0], ANYTHING, local)
            case kind if kind in _CONSTANTS:
                return _CONSTANTS[kind]
            case kind:
                raise BicepSyntaxError(f"{self._file.path}:{node.start_point.row + 1}: unknown expression {kind}")

    def _call(self, node: Node, name: str, arguments: list[Node], wanted: Shape, local: _Locals) -> Shape:
        for one in arguments:
            self._value(one, wanted if name in ("concat", "union") else ANYTHING, local)
        least, most, gives = _FUNCTIONS.get(name, (0, -1, ANYTHING))
        if most < 0:
            self._report(node, f"{name}: unknown function")
        elif not least <= len(arguments) <= most:
            self._report(node, f"{name}: does not take {len(arguments)} arguments")
        return self._program.types.bodies.get(f"{name}()".lower(), gives)

    def _access(self, of: Shape, access: Node, local: _Locals) -> Shape:
        name = text_of(access) if access.type == "property_identifier" else literal_of(access)
        if access.type != "property_identifier":
            self._value(access, INT if of.kind == "array" else ANYTHING, local)
        found = shapes.member(of, name) if name else (of.item or ANYTHING)
        if found is None:
            self._report(access, f"{of} has no {name!r}")
        return found or ANYTHING
