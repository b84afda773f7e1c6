"""Bicep expressions as values, read with tree-sitter.

The grammar binds `.name` weaker than operators: it reads `a ? b : c.d` as `(a ? b : c).d`. Here the access goes to the
operand that it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

LANGUAGE = Language(tree_sitter_bicep.language())

_LOOSE = (
    "ternary_expression",
    "binary_expression",
    "unary_expression",
    "lambda_expression",
    "member_expression",
    "subscript_expression",
    "call_expression",
)
"""What may turn out to be an operation whose last operand the next access belongs to."""


class BicepSyntaxError(Exception):
    """The file does not parse; the message names the line."""


@dataclass(frozen=True, slots=True)
class Name:
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    line: int
    parts: tuple[str | Expression, ...]

    @property
    def literal(self) -> str | None:
        """The text, unless something is interpolated."""
        return "".join(part for part in self.parts if isinstance(part, str)) if self._is_plain else None

    @property
    def _is_plain(self) -> bool:
        return all(isinstance(part, str) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, a truth value or null."""

    line: int
    value: int | bool | None


@dataclass(frozen=True, slots=True)
class Property:
    line: int
    key: str | None
    """`None` when the key is interpolated."""
    value: Expression
    interpolated: Expression | None = None
    """Such a key."""


@dataclass(frozen=True, slots=True)
class Record:
    line: int
    properties: tuple[Property, ...]

    def get(self, key: str) -> Expression | None:
        return next((one.value for one in self.properties if one.key == key), None)


@dataclass(frozen=True, slots=True)
class Sequence:
    line: int
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Member:
    line: int
    of: Expression
    name: str
    is_safe: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    line: int
    of: Expression
    index: Expression


@dataclass(frozen=True, slots=True)
class Call:
    line: int
    function: str
    arguments: tuple[Expression, ...]
    of: Expression | None = None
    """What stands before the dot."""


@dataclass(frozen=True, slots=True)
class Operation:
    line: int
    operator: str
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    line: int
    condition: Expression
    yes: Expression
    no: Expression


@dataclass(frozen=True, slots=True)
class Lambda:
    line: int
    names: tuple[str, ...]
    body: Expression


@dataclass(frozen=True, slots=True)
class Loop:
    line: int
    names: tuple[str, ...]
    """The item, and the index when it is named."""
    source: Expression
    body: Expression


@dataclass(frozen=True, slots=True)
class When:
    """`if (condition) body`, of a resource or a module."""

    line: int
    condition: Expression
    body: Expression


Expression: TypeAlias = (
    Name | Text | Constant | Record | Sequence | Member | Index | Call | Operation | Choice | Lambda | Loop | When
)
_Access: TypeAlias = Callable[[Expression], Expression]


def parse(source: str, file: str) -> Node:
    """The tree of a file.

    Raises:
        BicepSyntaxError: It does not parse.
    """
    root = Parser(LANGUAGE).parse(source.encode()).root_node
    wrong = next(_wrong(root), None)
    if wrong is not None:
        raise BicepSyntaxError(f"{file}:{line_of(wrong)}: syntax error at {text_of(wrong).splitlines()[:1]}")
    return root


def _wrong(node: Node) -> Iterator[Node]:
    if node.type == "ERROR" or node.is_missing:
        yield node
    elif node.has_error:
        for child in node.children:
            yield from _wrong(child)


def line_of(node: Node) -> int:
    return node.start_point[0] + 1


def text_of(node: Node) -> str:
    return (node.text or b"").decode()


def parts_of(node: Node) -> list[Node]:
    """The named children without comments."""
    return [child for child in node.named_children if child.type != "comment"]


def expression(node: Node) -> Expression:
    """Read an expression."""
    return _READERS.get(node.type, _operation)(node)


def _name(node: Node) -> Name:
    return Name(line_of(node), text_of(node))


def _inner(node: Node) -> Expression:
    return expression(parts_of(node)[0])


def _record(node: Node) -> Record:
    pairs = [child for child in parts_of(node) if child.type == "object_property"]
    return Record(line_of(node), tuple(_property(pair) for pair in pairs))


def _index(node: Node) -> Expression:
    of, index = parts_of(node)
    return _attached(of, lambda base: Index(line_of(node), base, expression(index)))


def _when(node: Node) -> When:
    condition, body = parts_of(node)
    return When(line_of(node), expression(condition), expression(body))


def _sequence(node: Node) -> Sequence:
    """An array. In front of a comment the grammar reads `f(x)` as two items that touch."""
    items: list[Expression] = []
    end = -1
    for child in parts_of(node):
        if child.type == "parenthesized_expression" and child.start_byte == end:
            name = items.pop()
            assert isinstance(name, Name)
            items.append(Call(name.line, name.text, tuple(expression(one) for one in parts_of(child))))
        else:
            items.append(expression(child))
        end = child.end_byte
    return Sequence(line_of(node), tuple(items))


def _operation(node: Node) -> Expression:
    line = line_of(node)
    operands = [expression(child) for child in parts_of(node)]
    match node.type:
        case "ternary_expression":
            return Choice(line, operands[0], operands[1], operands[2])
        case "lambda_expression":
            names = tuple(one.text for one in operands[:-1] if isinstance(one, Name))
            return Lambda(line, names, operands[-1])
        case "binary_expression" | "unary_expression":
            operator = node.child_by_field_name("operator")
            assert operator is not None
            return Operation(line, operator.type, tuple(operands))
        case _:
            raise BicepSyntaxError(f"line {line}: {node.type} is not known to this reader")


def _constant(node: Node) -> Constant:
    match node.type:
        case "number":
            return Constant(line_of(node), int(text_of(node)))
        case "boolean":
            return Constant(line_of(node), text_of(node) == "true")
        case _:
            return Constant(line_of(node), None)


def _text(node: Node) -> Text:
    parts: list[str | Expression] = []
    for child in node.named_children:
        if child.type == "interpolation":
            parts.append(expression(parts_of(child)[0]))
        else:
            parts.append(text_of(child))
    return Text(line_of(node), tuple(parts))


def _property(node: Node) -> Property:
    key, value = parts_of(node)
    named = expression(key)
    text = named.text if isinstance(named, Name) else named.literal if isinstance(named, Text) else None
    return Property(line_of(node), text, expression(value), named if text is None else None)


def _member(node: Node) -> Expression:
    of, name = parts_of(node)
    is_safe = any(child.type == ".?" for child in node.children)
    return _attached(of, lambda base: Member(line_of(name), base, text_of(name), is_safe))


def _call(node: Node) -> Expression:
    function, arguments = parts_of(node)[0], parts_of(node)[-1]
    given = tuple(expression(child) for child in parts_of(arguments))
    if function.type == "member_expression":
        of, name = parts_of(function)
        return _attached(of, lambda base: Call(line_of(name), text_of(name), given, base))
    return Call(line_of(node), text_of(function), given)


def _attached(node: Node, access: _Access) -> Expression:
    """The access, on the operand that stands next to it."""
    return _descend(expression(node), access) if node.type in _LOOSE else access(expression(node))


def _descend(of: Expression, access: _Access) -> Expression:
    match of:
        case Choice(line, condition, yes, no):
            return Choice(line, condition, yes, _descend(no, access))
        case Operation(line, operator, operands):
            return Operation(line, operator, (*operands[:-1], _descend(operands[-1], access)))
        case Lambda(line, names, body):
            return Lambda(line, names, _descend(body, access))
        case _:
            return access(of)


def _loop(node: Node) -> Loop:
    children = parts_of(node)
    body = node.child_by_field_name("body")
    assert body is not None
    names = parts_of(children[0]) if children[0].type == "for_loop_parameters" else [children[0]]
    return Loop(line_of(node), tuple(text_of(name) for name in names), expression(children[1]), expression(body))


_READERS: dict[str, Callable[[Node], Expression]] = {
    "array": _sequence,
    "boolean": _constant,
    "call_expression": _call,
    "for_statement": _loop,
    "identifier": _name,
    "if_statement": _when,
    "loop_enumerator": _name,
    "loop_variable": _name,
    "member_expression": _member,
    "null": _constant,
    "number": _constant,
    "object": _record,
    "parenthesized_expression": _inner,
    "property_identifier": _name,
    "resource_expression": _member,
    "string": _text,
    "subscript_expression": _index,
}
