"""Compares what a Bicep program gives with what is wanted: by resource types, by modules, and by the language."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.deploy.bicep.arm_types import SCOPES, ResourceType
from tests.deploy.bicep.declarations import BicepFile, Declaration, NullableType
from tests.deploy.bicep.functions import DECORATORS
from tests.deploy.bicep.inference import Inference, Locals
from tests.deploy.bicep.program import Finding, Program
from tests.deploy.bicep.shapes import ANYTHING, STRING, Either, Fields, Many, Shape, Variants, mismatch, spoken
from tests.deploy.bicep.symbols import Symbols
from tests.deploy.bicep.syntax import Call, Choice, Expression, Index, Loop, Member, Name, Record, Sequence, Text, When

_TYPE = re.compile(r"([\w.]+(?:/\w+)+)@(\d{4}-\d\d-\d\d(?:-preview)?)")
_OF_RESOURCES = ("parent", "scope", "dependsOn")
_OF_MODULES = ("name", "scope", "params", "dependsOn")


def check(program: Program, files: Iterable[str] | None = None) -> list[Finding]:
    """Everything that is wrong with a program, or with some of its files, by file and line."""
    findings: set[Finding] = set()
    for file in program.files if files is None else files:
        findings |= _FileChecker(program, program.files[file]).run()
    return sorted(findings)


class _FileChecker:
    def __init__(self, program: Program, file: BicepFile) -> None:
        self._program = program
        self._file = file
        self._inference = Inference(program, file)
        self._symbols = self._inference.symbols
        self._report = self._symbols.report

    def run(self) -> set[Finding]:
        self._check_names()
        for declaration in self._file.declarations:
            self._check_decorators(declaration)
            match declaration.kind:
                case "resource":
                    self._check_resource(declaration)
                case "module":
                    self._check_module(declaration)
                case "func":
                    self._check_function(declaration)
                case _:
                    self._check_typed(declaration)
        self._check_imports()
        self._check_unused()
        return set(self._symbols.findings)

    # Names

    def _check_names(self) -> None:
        for kinds in (("param", "var", "resource", "module", "func", "type"), ("output",)):
            seen: set[str] = set()
            for one in self._file.declarations:
                if one.kind in kinds:
                    if one.name in seen:
                        self._report(one.line, one.name, "declared twice")
                    seen.add(one.name)

    def _check_imports(self) -> None:
        for one in self._file.imports:
            target = self._program.beside(self._file, one.path)
            exported = [
                declaration.name
                for declaration in (target.declarations if target else ())
                if declaration.decorator("export")
            ]
            if target is None:
                self._report(one.line, one.path, "no such file")
            elif one.name not in exported:
                self._report(one.line, one.name, f"{one.path} exports no such thing")

    def _check_unused(self) -> None:
        for one in self._file.declarations:
            can_be_unused = one.kind in ("param", "var") or (one.kind == "resource" and one.is_existing)
            can_be_unused |= one.kind in ("type", "func") and one.decorator("export") is None
            if can_be_unused and one.name not in self._symbols.used:
                self._report(one.line, one.name, "is never used")
        for one in self._file.imports:
            if one.alias not in self._symbols.used:
                self._report(one.line, one.alias, "is never used")

    def _check_decorators(self, declaration: Declaration) -> None:
        for one in declaration.decorators:
            kinds = DECORATORS.get(one.function)
            if kinds is None or declaration.kind not in kinds:
                self._report(one.line, f"@{one.function}", f"is no decorator of a {declaration.kind}")
            elif one.function == "batchSize" and not isinstance(declaration.value, Loop):
                self._report(one.line, "@batchSize", "needs a loop")

    # Values

    def _check_typed(self, declaration: Declaration) -> None:
        """A parameter and its default, a variable, an output, a type."""
        shape = ANYTHING
        if declaration.kind in ("param", "output", "type"):
            shape = self._symbols.parameter(declaration)
        if declaration.kind == "param":
            self._symbols.typed(declaration.type)
        if declaration.value is not None:
            self._inference.is_default = declaration.kind == "param"
            self.check_value(declaration.value, shape, declaration.name, {})
            self._inference.is_default = False

    def _check_function(self, declaration: Declaration) -> None:
        assert declaration.value is not None
        local = {name: self._symbols.typed(type) for name, type in declaration.parameters}
        self.check_value(declaration.value, self._symbols.typed(declaration.type), declaration.name, local)

    def check_value(self, value: Expression, wanted: Shape, symbol: str, local: Locals) -> None:
        """Report where a value is not what is wanted, at the line of the part that is wrong."""
        match value, wanted:
            case Record(), Fields() | Variants() | Either():
                self._check_record(value, wanted, symbol, local)
            case Sequence(_, items), Many(item):
                for one in items:
                    self.check_value(one, item(), symbol, local)
            case Loop(_, _, _, body), Many(item):
                self.check_value(body, item(), symbol, self._inference.within(value, local))
            case Choice(line, condition, yes, no), _:
                self._inference.condition(condition, line, local)
                self.check_value(yes, wanted, symbol, local)
                self.check_value(no, wanted, symbol, local)
            case When(line, condition, body), _:
                self._inference.condition(condition, line, local)
                self.check_value(body, wanted, symbol, local)
            case Call(_, "concat" | "union", arguments), Many():
                for one in arguments:
                    self.check_value(one, wanted, symbol, local)
            case _:
                why = mismatch(self._inference.infer(value, local), wanted)
                if why:
                    self._report(value.line, symbol, why)

    def _check_record(self, value: Record, wanted: Fields | Variants | Either, symbol: str, local: Locals) -> None:
        self._inference.infer(value, local)
        fields = self._chosen(value, wanted, symbol)
        if fields is None:
            return
        for one in value.properties:
            if one.key is None:
                continue
            path = f"{symbol}.{one.key}"
            field = fields.fields.get(one.key)
            if field is not None:
                if field.is_read_only:
                    self._report(one.line, path, "is read-only")
                self.check_value(one.value, field.shape(), path, local)
            elif fields.additional is not None:
                self.check_value(one.value, fields.additional(), path, local)
            else:
                self._report(one.line, path, f"{spoken(fields)} has no {one.key!r}")
        for key, field in fields.fields.items():
            if field.is_required and value.get(key) is None:
                self._report(value.line, symbol, f"{spoken(fields)} needs {key!r}")

    def _chosen(self, value: Record, wanted: Fields | Variants | Either, symbol: str) -> Fields | None:
        match wanted:
            case Fields():
                return wanted
            case Either(options):
                one = next((one for one in options if isinstance(one, Fields | Variants)), None)
                return self._chosen(value, one, symbol) if one else None
            case Variants(name, discriminator, variants):
                given = value.get(discriminator)
                literal = given.literal if isinstance(given, Text) else None
                if given is None:
                    self._report(value.line, symbol, f"{name} needs {discriminator!r}")
                if given is None or literal is None:
                    return wanted.any_of_them()
                if literal not in variants:
                    self._report(given.line, f"{symbol}.{discriminator}", f"{literal!r} is no variant of {name}")
                return variants.get(literal)

    # Resources

    def _check_resource(self, declaration: Declaration) -> None:
        body, local = self._body(declaration)
        known = self._resource_type(declaration)
        self._inference.infer(body, local)
        self._check_links(declaration, body)
        if known is None:
            return
        assert isinstance(known.body, Fields)
        own = [one for one in body.properties if one.key not in _OF_RESOURCES]
        if declaration.is_existing:
            for one in own:
                if one.key != "name":
                    self._report(one.line, f"{declaration.name}.{one.key}", "has no place in an existing resource")
            fields = Fields(known.name, {"name": known.body.fields["name"]}, lambda: ANYTHING)
            self._check_record(Record(body.line, tuple(own)), fields, declaration.name, local)
            return
        self._check_scope(declaration, body, known)
        self._check_record(Record(body.line, tuple(own)), known.body, declaration.name, local)

    def _resource_type(self, declaration: Declaration) -> ResourceType | None:
        match = _TYPE.fullmatch(declaration.target)
        if match is None:
            self._report(declaration.line, declaration.name, f"{declaration.target!r} is not Namespace/type@version")
            return None
        known = self._program.types.find(declaration.target)
        if known is None and self._program.types.is_complete:
            versions = ", ".join(self._program.types.versions(match[1]))
            hint = f"its versions here are {versions}" if versions else "no version of it is known"
            self._report(declaration.line, declaration.name, f"unknown type {declaration.target}: {hint}")
        return known

    def _body(self, declaration: Declaration) -> tuple[Record, Locals]:
        value, local = declaration.value, dict[str, Shape]()
        while not isinstance(value, Record):
            match value:
                case Loop(_, _, _, body):
                    local = {**local, **self._inference.within(value, local)}
                    value = body
                case When(line, condition, body):
                    self._inference.condition(condition, line, local)
                    value = body
                case _:
                    raise AssertionError(f"{self._file.file}:{declaration.line}: no body")
        return value, local

    def _check_links(self, declaration: Declaration, body: Record) -> None:
        """`parent` and `dependsOn` name resources, and the parent is of the type above."""
        for one in body.properties:
            if one.key == "dependsOn" and isinstance(one.value, Sequence):
                for item in one.value.items:
                    if isinstance(item, Name) and not self._is_resource(item.text):
                        self._report(item.line, item.text, "is neither a resource nor a module")
        if declaration.kind == "module":
            return
        parent = body.get("parent")
        above = declaration.target.partition("@")[0].rpartition("/")[0]
        if parent is None:
            name = body.get("name")
            is_child = above.count("/") > 0
            if is_child and not (isinstance(name, Text) and any("/" in str(part) for part in name.parts)):
                self._report(declaration.line, declaration.name, f"needs a parent of type {above}")
            return
        root = parent
        while isinstance(root, Member | Index):
            root = root.of
        found = self._symbols.values.get(root.text) if isinstance(root, Name) else None
        if found is not None and (found.kind != "resource" or found.target.partition("@")[0].lower() != above.lower()):
            self._report(parent.line, found.name, f"cannot be the parent of a {declaration.target.partition('@')[0]}")

    def _is_resource(self, name: str) -> bool:
        found = self._symbols.values.get(name)
        return found is None or found.kind in ("resource", "module")

    def _check_scope(self, declaration: Declaration, body: Record, known: ResourceType) -> None:
        scope = body.get("scope")
        if known.scopes == 0:
            self._report(declaration.line, declaration.name, f"{known.name} cannot be written")
        elif isinstance(scope, Name):
            if not known.scopes & SCOPES["resource"]:
                self._report(scope.line, declaration.name, f"{known.name} cannot belong to another resource")
        elif scope is None and not known.scopes & SCOPES[self._file.scope]:
            self._report(declaration.line, declaration.name, f"{known.name} cannot be in a {self._file.scope}")

    # Modules

    def _check_module(self, declaration: Declaration) -> None:
        body, local = self._body(declaration)
        self._inference.infer(body, local)
        self._check_links(declaration, body)
        for one in body.properties:
            if one.key not in _OF_MODULES:
                self._report(one.line, f"{declaration.name}.{one.key}", "a module has no such property")
        name = body.get("name")
        if name is not None:
            self.check_value(name, STRING, f"{declaration.name}.name", local)
        target = self._program.beside(self._file, declaration.target)
        if target is None:
            self._report(declaration.line, declaration.name, f"no such file: {declaration.target}")
            return
        if target.scope != self._file.scope and body.get("scope") is None:
            self._report(declaration.line, declaration.name, f"needs a scope: {target.file} is for a {target.scope}")
        self._check_parameters(declaration, body, target, local)

    def _check_parameters(self, declaration: Declaration, body: Record, target: BicepFile, local: Locals) -> None:
        given = body.get("params") or Record(body.line, ())
        if not isinstance(given, Record):
            self._report(body.line, declaration.name, "params is not an object")
            return
        other = Symbols(self._program, target, lambda _: ANYTHING)
        parameters = {one.name: one for one in target.of_kind("param")}
        for one in given.properties:
            wanted = parameters.get(one.key or "")
            if wanted is None:
                self._report(one.line, f"{declaration.name}.{one.key}", f"{target.file} has no such parameter")
            else:
                self.check_value(one.value, other.parameter(wanted), f"{declaration.name}.{one.key}", local)
        for name, wanted in parameters.items():
            is_optional = wanted.value is not None or isinstance(wanted.type, NullableType)
            if not is_optional and given.get(name) is None:
                self._report(given.line, declaration.name, f"{target.file} needs the parameter {name!r}")
