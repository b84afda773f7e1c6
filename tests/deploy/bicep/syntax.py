"""A Bicep file as its declarations. Their types and values are nodes of the grammar, which `checker` reads."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

_PARSER = Parser(Language(tree_sitter_bicep.language()))


class BicepSyntaxError(Exception):
    """A file does not parse, or has something in it that the checker does not know; the message names the line."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A `param`, `var`, `resource`, `module`, `output`, `type` or `import`; what its kind does not have is empty."""

    kind: str
    name: str
    node: Node
    target: str  # The type and version of a resource; the path of a module or an import.
    tokens: tuple[str, ...]  # The types of what it consists of, such as `existing` or `for_statement`.
    decorators: Mapping[str, Node]  # Their calls by name.
    type: Node | None = None
    value: Node | None = None

    @property
    def properties(self) -> dict[str, Node]:
        """Of a resource or a module, also inside of a loop or a condition."""
        node = self.value
        while node and node.type in ("for_statement", "if_statement"):
            node = parts_of(node)[-1]
        return properties_of(node)


@dataclass(frozen=True, slots=True)
class BicepFile:
    path: str
    scope: str
    declarations: tuple[Declaration, ...]

    def of_kind(self, kind: str) -> dict[str, Declaration]:
        return {one.name: one for one in self.declarations if one.kind == kind}


@lru_cache(maxsize=256)
def read(source: str, path: str) -> BicepFile:
    """Read a file; raises `BicepSyntaxError` when it does not parse."""
    scope, declarations, decorators = "resourceGroup", list[Declaration](), dict[str, Node]()
    for node in parts_of(parse(source, path)):
        parts, tokens = parts_of(node), tuple(child.type for child in node.children)
        kind, strings = tokens[0], [text for one in parts if (text := literal_of(one)) is not None]
        target = strings[0] if kind in ("resource", "module", "import") else ""
        if kind in ("module", "import"):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if kind == "decorator":
            decorators = {text_of(parts_of(call)[0]): call for one in parts for call in parts_of(one)}
        elif kind == "targetScope":
            scope = strings[0]
        elif kind == "import":
            declarations += [Declaration(kind, text_of(name), node, target, tokens, {}) for name in parts[:-1]]
        else:
            type = parts[1] if kind == "type" else next((part for part in parts if part.type == "type"), None)
            value = parts[-1] if "=" in tokens and kind != "type" else None
            declarations.append(Declaration(kind, text_of(parts[0]), node, target, tokens, decorators, type, value))
            decorators = {}
    return BicepFile(path, scope, tuple(declarations))


def parse(source: str, path: str) -> Node:
    root = _PARSER.parse(source.encode()).root_node
    if root.has_error:
        wrong = next((node for node in root.children if node.has_error), root)
        raise BicepSyntaxError(f"{path}:{wrong.start_point.row + 1}: syntax error in {text_of(wrong).splitlines()[:1]}")
    return root


def sources_of(folder: Path) -> dict[str, str]:
    """The Bicep files below a folder by their path in it."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*.bicep"))}


def text_of(node: Node) -> str:
    return (node.text or b"").decode()


def parts_of(node: Node) -> list[Node]:
    """The named children without comments."""
    return [child for child in node.named_children if child.type != "comment"]


def literal_of(node: Node | None) -> str | None:
    """The text of a string in which nothing is interpolated."""
    text = text_of(node) if node and node.type == "string" else "${"
    return None if "${" in text else text.strip("'")


def pairs_of(node: Node) -> list[tuple[str, Node, Node]]:
    """The properties of an object: the text of the key, the key, and the value."""
    pairs = [parts_of(child) for child in node.named_children if child.type == "object_property"]
    return [(text_of(key).strip("'"), key, value) for key, value in pairs]


def properties_of(node: Node | None) -> dict[str, Node]:
    """The values of an object by key; none of what is no object."""
    return {name: value for name, _, value in pairs_of(node)} if node else {}
