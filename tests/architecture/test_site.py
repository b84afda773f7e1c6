"""The documentation site has every page and every public name; its links lead to its pages."""

from __future__ import annotations

import runpy
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

import hostedagent
import hostedagent.doors
import hostedagent.embed
import hostedagent.testing

ROOT = Path(__file__).parents[2]
SITE: dict[str, Any] = runpy.run_path(str(ROOT / "docs/site.py"))
LINKED = cast("Callable[[str, str, frozenset[str]], str]", SITE["linked"])
KNOWN = frozenset({"README.md", "docs/state.md", "docs/internals/request.md", "samples/hello/README.md"})


def in_navigation() -> Iterator[str]:
    for section in tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]:
        for pages in section.values():
            yield from pages


def test_the_navigation_names_every_page_once() -> None:
    named = list(in_navigation())
    pages = {*SITE["pages"](), *dict(SITE["reference"]())}
    assert len(named) == len(set(named))
    assert set(named) == pages, "add a new page to `nav` in zensical.toml"


def test_the_reference_has_every_public_name() -> None:
    text = "\n".join(text for _, text in SITE["reference"]())
    for module in (hostedagent, hostedagent.doors, hostedagent.embed, hostedagent.testing):
        for name in module.__all__:
            if not name.startswith("_"):
                assert f"::: {module.__name__}.{name}\n" in text or f"## {name}\n" in text, name


@pytest.mark.parametrize(
    ("text", "page", "becomes"),
    [
        ("[state](docs/state.md)", "README.md", "[state](docs/state.md)"),
        ("[ids](../state.md#ids)", "docs/internals/request.md", "[ids](../state.md#ids)"),
        ("[hello](samples/hello)", "README.md", "[hello](samples/hello/README.md)"),
        ("[tests](../tests/isolation)", "docs/state.md", "tests"),
        ("[site](https://example.com/a.md)", "README.md", "[site](https://example.com/a.md)"),
        ("[above](#words)", "README.md", "[above](#words)"),
        ("![picture](docs/images/a.png)", "README.md", "![picture](docs/images/a.png)"),
        ("```python\na = b[0](missing)\n```\n[x](gone.py)", "README.md", "```python\na = b[0](missing)\n```\nx"),
    ],
)
def test_a_link_leads_to_a_page_or_becomes_text(text: str, page: str, becomes: str) -> None:
    assert LINKED(text, page, KNOWN) == becomes
