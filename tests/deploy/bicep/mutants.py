"""Programs with one mistake each, made from a right one: names, members, keys and types misspelt, values replaced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tree_sitter import Node

from tests.deploy.bicep.syntax import parse, text_of


class Mutant(NamedTuple):
    """A mistake of a kind, in the place of a text, and the file with it."""

    kind: str
    file: str
    line: int
    text: str
    source: str


def mutants(sources: Mapping[str, str]) -> Iterator[Mutant]:
    """Every mistake, one at a time."""
    for file, source in sources.items():
        for kind, node in _mistakes(parse(source, file)):
            text, data = text_of(node), source.encode()
            wrong = {"type": f"{text[:-1]}1'", "value": "[7]"}.get(kind, f"{text}Mispelt").encode()
            changed = data[: node.start_byte] + wrong + data[node.end_byte :]
            yield Mutant(kind, file, node.start_point.row + 1, text, changed.decode())


def _mistakes(outer: Node) -> Iterator[tuple[str, Node]]:
    """The nodes in another of which a mistake can be made, with its kind."""
    for index, node in enumerate(outer.named_children):
        declares = index == 0 and (outer.type.endswith("_declaration") or outer.type == "for_statement")
        is_property = outer.type == "object_property"
        match node.type:
            case "comment" | "decorators" | "import_functionality" | "type" | "type_declaration":
                continue
            case "property_identifier":
                yield "member", node
            case "identifier" if not declares:
                yield "key" if is_property and index == 0 else "name", node
            case "string" if outer.type == "resource_declaration":
                yield "type", node
            case "string" | "boolean" | "number" if is_property and index > 0:
                yield "value", node
            case _:
                pass
        yield from _mistakes(node)
