"""Programs with one mistake each, made from a right one: every name, member and key misspelt in its turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tree_sitter import Node

from tests.deploy.bicep.syntax import line_of, parse, text_of

Mistake = Literal["name", "member", "key", "type", "value"]
SUFFIX = "Mispelt"

_VALUES = ("string", "boolean", "number")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake.

    Args:
        mistake: What kind.
        file: Where.
        line: Where in it.
        text: What stood there.
        within: The keys around it, from the outermost.
        source: The file with the mistake in it.
    """

    mistake: Mistake
    file: str
    line: int
    text: str
    within: tuple[str, ...]
    source: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.mistake} {'.'.join((*self.within, self.text))}"


def mutants(sources: Mapping[str, str]) -> Iterator[Mutant]:
    """Every mistake, one at a time."""
    for file, source in sources.items():
        for node in _nodes(parse(source, file)):
            for mistake, start, end, text in _mistakes(node):
                data = source.encode()
                wrong = (data[:start] + text.encode() + data[end:]).decode()
                yield Mutant(mistake, file, line_of(node), text_of(node), _within(node), wrong)


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.named_children:
        if child.type not in ("decorators", "comment"):
            yield from _nodes(child)


def _mistakes(node: Node) -> Iterator[tuple[Mistake, int, int, str]]:
    parent = node.parent
    if parent is None:
        return
    if node.type == "property_identifier":
        yield "member", node.end_byte, node.end_byte, SUFFIX
    elif node.type == "identifier" and _is_key(node):
        yield "key", node.end_byte, node.end_byte, SUFFIX
    elif node.type == "identifier" and _is_use(node, parent):
        yield "name", node.end_byte, node.end_byte, SUFFIX
    elif node.type == "string" and parent.type == "resource_declaration":
        yield "type", node.end_byte - 1, node.end_byte - 1, "1"
    elif node.type in _VALUES and parent.type == "object_property" and not _is_key(node):
        yield "value", node.start_byte, node.end_byte, "[7]"


def _is_key(node: Node) -> bool:
    parent = node.parent
    if parent is None or parent.type != "object_property" or parent.named_children[0].id != node.id:
        return False
    outer = parent.parent
    while outer is not None and outer.type in ("object", "object_property"):
        outer = outer.parent
    return outer is None or outer.type not in ("type_declaration", "type")


def _is_use(node: Node, parent: Node) -> bool:
    """Whether an identifier stands for something that is declared elsewhere."""
    is_declared_here = parent.named_children[0].id == node.id and (
        parent.type.endswith("_declaration") or parent.type == "object_property"
    )
    return not is_declared_here and parent.type not in ("for_statement", "import_functionality", "type", "array_type")


def _within(node: Node) -> tuple[str, ...]:
    keys: list[str] = []
    above = node.parent
    while above is not None:
        if above.type == "object_property" and above.named_children[0].id != node.id:
            keys.insert(0, text_of(above.named_children[0]))
        elif above.type.endswith("_declaration"):
            keys.insert(0, text_of(above.named_children[0]))
        above = above.parent
    return tuple(keys)
