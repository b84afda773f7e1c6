"""What the documents say, tried: their Python is run, their commands parsed, their links followed."""

from __future__ import annotations

import inspect
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from types import CodeType

import click
import pytest

from hostedagent.cli import COMMANDS as SUBCOMMANDS
from hostedagent.cli.group import Commands
from tests.patience import PATIENCE
from tests.samples.server import ROOT

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "samples/**/*.md")
    for path in ROOT.glob(pattern)
    if path.parent != ROOT / "docs/clients"  # The client matrix runs these, each in its client's own environment.
)

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)[^)]*\)")


@dataclass(frozen=True, slots=True)
class Block:
    document: str
    number: int
    language: str
    text: str
    output: str | None
    """The text block right after it."""


def blocks_of(document: str) -> list[Block]:
    found = list(FENCE.finditer((ROOT / document).read_text()))
    follows = [found[n + 1][2] if n + 1 < len(found) and found[n + 1][1] == "text" else None for n in range(len(found))]
    return [
        Block(document, n, match[1], match[2], output)
        for n, (match, output) in enumerate(zip(found, follows, strict=True), 1)
    ]


BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]
CLIENTS = [block for block in BLOCKS if block.language == "python" and "OpenAI(" in block.text]
OTHERS = [block for block in BLOCKS if block.language == "python" and "OpenAI(" not in block.text]
COMMANDS = [
    (block.document, line)
    for block in BLOCKS
    if block.language == "bash"
    for line in block.text.splitlines()
    if "hostedagent " in line
]


def name_of(block: Block) -> str:
    return f"{block.document}-{block.number}"


@pytest.mark.parametrize("block", CLIENTS, ids=name_of)
def test_a_client_of_a_document_prints_what_the_document_shows(block: Block, request: pytest.FixtureRequest) -> None:
    named = ("approvals", "background", "fastapi", "mcp", "tools", "workflow")
    sample = next((name for name in named if f"samples/{name}/" in block.document), "hello")
    url: str = request.getfixturevalue(sample)

    ran = subprocess.run(
        [sys.executable, "-c", block.text.replace("http://127.0.0.1:8088", url)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )

    assert ran.returncode == 0, ran.stderr
    assert block.output is not None, "no output is shown after it"
    assert ran.stdout.rstrip() == block.output.rstrip()


@pytest.mark.parametrize("block", OTHERS, ids=name_of)
async def test_other_python_of_a_document_runs(block: Block) -> None:
    code: CodeType = compile(block.text, name_of(block), "exec")
    if block.text.rstrip().splitlines()[-1] == "AgentHost(agent).run()":
        return  # It serves until it is stopped; what it calls is what the samples call.
    names: dict[str, object] = {"__name__": "document"}
    exec(code, names)
    for name, value in list(names.items()):
        if name.startswith("test_") and inspect.iscoroutinefunction(value):
            await value()


@pytest.mark.parametrize(("document", "line"), COMMANDS)
def test_a_command_of_a_document_exists(document: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    name, *arguments = words[words.index("hostedagent") + 1 :]

    command = Commands(SUBCOMMANDS).get_command(click.Context(Commands(SUBCOMMANDS)), name)
    assert command is not None
    given = command.make_context(name, arguments).params
    if name == "run" and "/" in (given["target"] or ""):
        assert (ROOT / given["target"]).is_file()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_links_of_a_document_lead_somewhere(document: str) -> None:
    folder = (ROOT / document).parent

    missing = [link for link in LINK.findall((ROOT / document).read_text()) if not (folder / link).exists()]

    assert missing == []


@pytest.mark.parametrize("kind", ["HostOptions", "CallerPolicy"])
def test_the_document_of_options_lists_every_one(kind: str) -> None:
    import hostedagent

    table = (ROOT / "docs" / "options.md").read_text().partition(f"## {kind}\n")[2].partition("\n## ")[0]

    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(
        inspect.signature(getattr(hostedagent, kind)).parameters
    )
