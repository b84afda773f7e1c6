"""What an expression is, and the names, members and functions in it that do not exist."""

from __future__ import annotations

from collections.abc import Mapping

from tests.deploy.bicep.declarations import BicepFile, Declaration
from tests.deploy.bicep.functions import FUNCTIONS, NAMESPACES, ONLY_AS_DEFAULT, Function
from tests.deploy.bicep.program import Program
from tests.deploy.bicep.shapes import (
    ANYTHING,
    ARRAY,
    BOOL,
    INT,
    NULL,
    STRING,
    Anything,
    Either,
    Field,
    Fields,
    Many,
    Scalar,
    Shape,
    Variants,
    many,
    mismatch,
    spoken,
)
from tests.deploy.bicep.symbols import Symbols
from tests.deploy.bicep.syntax import (
    Call,
    Choice,
    Constant,
    Expression,
    Index,
    Lambda,
    Loop,
    Member,
    Name,
    Operation,
    Record,
    Sequence,
    Text,
    When,
)

Locals = Mapping[str, Shape]
_TRUTH = ("==", "!=", "=~", "!~", "<", "<=", ">", ">=")


class Inference:
    """Of the expressions of one file."""

    def __init__(self, program: Program, file: BicepFile) -> None:
        self.symbols = Symbols(program, file, self._variable)
        self.is_default = False
        """Whether the default of a parameter is being read."""

    def _variable(self, declaration: Declaration) -> Shape:
        return self.infer(declaration.value, {}) if declaration.value else ANYTHING

    def infer(self, expression: Expression, local: Locals) -> Shape:
        """The shape of an expression."""
        match expression:
            case Name(line, text):
                return self._name(line, text, local)
            case Text(_, parts):
                for part in parts:
                    if not isinstance(part, str):
                        self.infer(part, local)
                literal = expression.literal
                return STRING if literal is None else Scalar("string", frozenset({literal}))
            case Constant(_, value):
                return NULL if value is None else BOOL if isinstance(value, bool) else INT
            case Record():
                return self._record(expression, local)
            case Sequence(_, items):
                shapes = [self.infer(item, local) for item in items]
                return many(Either(tuple(shapes))) if shapes else ARRAY
            case Member() | Index():
                return self._access(expression, local)
            case Call():
                return self._call(expression, local)
            case _:
                return self._composed(expression, local)

    def _composed(self, expression: Choice | Operation | Lambda | Loop | When, local: Locals) -> Shape:
        match expression:
            case Choice(line, condition, yes, no):
                self.condition(condition, line, local)
                return Either((self.infer(yes, local), self.infer(no, local)))
            case Operation():
                return self._operation(expression, local)
            case Lambda(_, names, body):
                return self.infer(body, {**local, **dict.fromkeys(names, ANYTHING)})
            case Loop(_, _, _, body):
                return many(self.infer(body, self.within(expression, local)))
            case When(line, condition, body):
                self.condition(condition, line, local)
                return self.infer(body, local)

    def within(self, loop: Loop, local: Locals) -> Locals:
        """The names inside a loop."""
        source = self.infer(loop.source, local)
        item = source.item() if isinstance(source, Many) else ANYTHING
        if not isinstance(source, Many | Anything | Either):
            self.symbols.report(loop.line, "for", f"{spoken(source)} is not an array")
        return {**local, **dict(zip(loop.names, (item, INT), strict=False))}

    def condition(self, value: Expression, line: int, local: Locals) -> None:
        """Report a condition that is none."""
        why = mismatch(self.infer(value, local), BOOL)
        if why:
            self.symbols.report(line, "condition", why)

    def _name(self, line: int, text: str, local: Locals) -> Shape:
        if text in local:
            return local[text]
        shape = self.symbols.shape(text)
        if shape is None:
            self.symbols.report(line, text, "unknown symbol")
            return ANYTHING
        return shape

    def _record(self, expression: Record, local: Locals) -> Shape:
        fields: dict[str, Field] = {}
        for one in expression.properties:
            shape = self.infer(one.value, local)
            if one.interpolated is not None:
                self.infer(one.interpolated, local)
            if one.key is not None:
                if one.key in fields:
                    self.symbols.report(one.line, one.key, "given twice")
                fields[one.key] = Field(lambda shape=shape: shape)
        is_open = any(one.key is None for one in expression.properties)
        return Fields("object", fields, (lambda: ANYTHING) if is_open else None)

    def _access(self, expression: Member | Index, local: Locals) -> Shape:
        of = self.infer(expression.of, local)
        if isinstance(expression, Member):
            return self._member(expression.line, of, expression.name)
        index = self.infer(expression.index, local)
        if isinstance(of, Many):
            if (why := mismatch(index, INT)) is not None:
                self.symbols.report(expression.line, "index", why)
            return of.item()
        if isinstance(of, Fields) and isinstance(expression.index, Text) and expression.index.literal is not None:
            return self._member(expression.line, of, expression.index.literal)
        return ANYTHING

    def _member(self, line: int, of: Shape, name: str) -> Shape:
        found = _find(of, name)
        if found is None:
            self.symbols.report(line, name, f"{spoken(of)} has no {name!r}")
            return ANYTHING
        return found

    def _operation(self, expression: Operation, local: Locals) -> Shape:
        shapes = [self.infer(one, local) for one in expression.operands]
        operator = expression.operator
        if operator == "??":
            return Either(tuple(shapes))
        if operator in _TRUTH:
            return BOOL
        wanted = BOOL if operator in ("&&", "||", "!") else INT
        for shape in shapes:
            if (why := mismatch(shape, wanted)) is not None:
                self.symbols.report(expression.line, operator, why)
        return wanted

    def _call(self, expression: Call, local: Locals) -> Shape:
        if expression.of is not None and not _is_namespace(expression.of):
            self.infer(expression.of, local)
            for argument in expression.arguments:
                self.infer(argument, local)
            return ANYTHING
        own = self.symbols.functions.get(expression.function)
        if own is not None:
            self.symbols.used.add(own.name)
            function = Function(len(own.parameters), len(own.parameters), self.symbols.typed(own.type))
        else:
            function = FUNCTIONS.get(expression.function)
        if function is None:
            self.symbols.report(expression.line, expression.function, "unknown function")
            return ANYTHING
        self._check_call(expression, function)
        return self._result(expression, function, local)

    def _check_call(self, expression: Call, function: Function) -> None:
        given = len(expression.arguments)
        if not function.least <= given <= function.most:
            self.symbols.report(expression.line, expression.function, f"does not take {given} arguments")
        if expression.function in ONLY_AS_DEFAULT and not self.is_default:
            self.symbols.report(expression.line, expression.function, "is for defaults of parameters only")

    def _result(self, expression: Call, function: Function, local: Locals) -> Shape:
        first = self.infer(expression.arguments[0], local) if expression.arguments else ANYTHING
        item = first.item() if isinstance(first, Many) else ANYTHING
        shapes = [first]
        for argument in expression.arguments[1:]:
            inside = {**local, **dict.fromkeys(argument.names, item)} if isinstance(argument, Lambda) else local
            shapes.append(self.infer(argument.body if isinstance(argument, Lambda) else argument, inside))
        match expression.function:
            case "concat" | "union" if all(isinstance(one, Many) for one in shapes):
                return many(Either(tuple(one.item() for one in shapes if isinstance(one, Many))))
            case "filter" | "sort" | "skip" | "take":
                return first
            case "map":
                return many(shapes[-1])
            case "first" | "last" if isinstance(first, Many):
                return item
            case "resourceGroup" | "subscription" if expression.arguments:
                return ANYTHING
            case _:
                return function.gives


def _is_namespace(expression: Expression) -> bool:
    return isinstance(expression, Name) and expression.text in NAMESPACES


def _find(of: Shape, name: str) -> Shape | None:
    match of:
        case Anything():
            return ANYTHING
        case Fields(_, fields, additional):
            if name in fields:
                return fields[name].shape()
            return additional() if additional else None
        case Variants():
            return _find(of.any_of_them(), name)
        case Either(options):
            found = [shape for one in options if one != NULL and (shape := _find(one, name)) is not None]
            return Either(tuple(found)) if found else None
        case _:
            return None
