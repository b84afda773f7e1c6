"""Builds the documentation site: `uv run --group docs python docs/site.py` writes it to `site/`.

The pages are the Markdown files of the repository at their own paths, so their links work here and there. Links to
what is not a page, such as a test, become plain text. The reference is made from the docstrings of the public names.
Any warning, such as a link to a page that does not exist, fails the build.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = ("*.md", "docs/**/*.md", "samples/*/README.md", "infra/README.md")
REFERENCE: Final = {
    "hostedagent": "What an application imports.",
    "hostedagent.doors": "Further protocols on the same engine.",
    "hostedagent.embed": "The protocol in routes of your own.",
    "hostedagent.testing": "Testing an agent without a server or a model.",
}
"""The public modules, and what each is for."""

_LEFT_OUT: Final = frozenset({"AGENTS.md"})
_LINK: Final = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")
_CODE: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def pages(root: Path = ROOT) -> dict[str, Path]:
    """The files that become pages, by their path in the site."""
    found = (path for pattern in PAGES for path in sorted(root.glob(pattern)))
    named = {path.relative_to(root).as_posix(): path for path in found}
    return {name: path for name, path in named.items() if name not in _LEFT_OUT}


def linked(text: str, name: str, known: frozenset[str]) -> str:
    """A page's text, without links to what the site does not have.

    Args:
        text: Its Markdown.
        name: Its path.
        known: The paths of all pages.
    """

    def link(match: re.Match[str]) -> str:
        words, target, anchor = match.groups()
        if ":" in target:
            return match[0]
        path = os.path.normpath(Path(name).parent / target)
        if path in known:
            return f"[{words}]({target}{anchor or ''})"
        if f"{path}/README.md" in known:
            return f"[{words}]({target.rstrip('/')}/README.md{anchor or ''})"
        return words

    parts, at = list[str](), 0
    for code in _CODE.finditer(text):
        parts += [_LINK.sub(link, text[at : code.start()]), code[0]]
        at = code.end()
    return "".join([*parts, _LINK.sub(link, text[at:])])


def reference() -> Iterator[tuple[str, str]]:
    """The pages of the reference, one for each public module: path and text."""
    for module, purpose in REFERENCE.items():
        home = import_module(module)
        public = [name for name in home.__all__ if not name.startswith("_")]
        body = "\n\n".join(_entry(module, name, getattr(home, name)) for name in public)
        yield f"reference/{module}.md", f"# {module}\n\n{purpose}\n\n{body}\n"


def _entry(module: str, name: str, value: object) -> str:
    home: str = getattr(value, "__module__", module)
    if home.split(".")[0] in ("hostedagent", "typing", "types"):
        return f"::: {module}.{name}"
    return f"## {name}\n\n`{name}` of `{home.split('.')[0]}`."


def write(folder: Path) -> None:
    """Write the sources of the site into an empty folder."""
    named = pages()
    texts = dict(reference())
    known = frozenset([*named, *texts])
    for name, path in named.items():
        texts[name] = linked(path.read_text(), name, known)
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    shutil.copytree(ROOT / "docs/images", folder / "docs/images")


def main() -> int:
    """Build the site; 1 when anything in it is wrong."""
    sources = ROOT / "build/site"
    shutil.rmtree(sources, ignore_errors=True)
    sources.mkdir(parents=True)
    write(sources)
    command = ["zensical", "build", "--strict", "--clean", "--config-file", str(ROOT / "zensical.toml")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        return 1
    print(f"Wrote {sum(1 for _ in (ROOT / 'site').rglob('index.html'))} pages to site/.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
