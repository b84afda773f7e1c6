"""Any module of the package can be the first one that a process imports.

Only a module on an import cycle can fail there: it meets another one of the cycle half executed. The cycles are read
from the source, and each module on one is imported first in a process of its own.
"""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

FIRST = """
import importlib, json, os, sys
import agent_framework  # Most modules need it, and none of it is ours.

assert not [name for name in sys.modules if name.startswith("hostedagent")]
for name in json.load(sys.stdin):
    child = os.fork()
    if not child:
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"{name}: {error}", flush=True)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
"""


def modules() -> dict[str, Path]:
    found = {
        path.relative_to(SOURCE).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__"): path
        for path in sorted((SOURCE / "hostedagent").rglob("*.py"))
    }
    return {name: path for name, path in found.items() if ".templates.project" not in name}


def executed(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run with their module."""
    for node in body:
        match node:
            case ast.Import() | ast.ImportFrom():
                yield node
            case ast.If():
                yield from executed(node.orelse if ast.unparse(node.test) == "TYPE_CHECKING" else node.body)
            case ast.Try() | ast.With() | ast.ClassDef():
                yield from executed(node.body)
            case _:
                pass


def parents(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:n]) for n in range(1, len(parts))}


def imported(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules that one needs while it runs: those it names, and the packages around them but not around itself."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    named: set[str] = set()
    for node in executed(ast.parse(path.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.Import):
            named |= {row.name for row in node.names}
            continue
        above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
        module = ".".join([*above, *([node.module] if node.module else [])])
        named |= {inner if (inner := f"{module}.{row.name}") in known else module for row in node.names}
    around = {package for one in named for package in parents(one)} - parents(name)
    return ((named | around) & known.keys()) - {name}


def reached(start: str, graph: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    left = [*graph[start]]
    while left:
        if (name := left.pop()) not in found:
            found.add(name)
            left += graph[name]
    return found


def on_cycles() -> list[str]:
    known = modules()
    graph = {name: imported(name, path, known) for name, path in known.items()}
    return [name for name in graph if name in reached(name, graph)]


def test_the_cycles_are_read_from_what_runs() -> None:
    known = modules()
    content, app = "hostedagent.protocol.content", "hostedagent.emulator.app"

    assert "hostedagent.protocol.content.codec" in imported(content, known[content], known)
    assert "hostedagent.emulator.faults" in imported(app, known[app], known)
    assert reached("a", {"a": {"b"}, "b": {"a"}}) == {"a", "b"} and reached("a", {"a": {"b"}, "b": set()}) == {"b"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="A process of its own for each module needs fork.")
def test_every_module_on_a_cycle_can_be_imported_first() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST], input=json.dumps(on_cycles()), capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, ""), done.stderr
