"""Each of the platform's names is written once, in `hostedagent.platform`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hostedagent import platform

SOURCES = Path(platform.__file__).parent
NAMES = sorted({value for name, value in vars(platform).items() if name.endswith(("_VARIABLE", "_HEADER", "_SCOPE"))})


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_platform_is_a_literal_in_one_module(name: str) -> None:
    literal = re.compile(rf"""(?<![`\w])["']{re.escape(name)}["']""")
    texts = {
        path.relative_to(SOURCES).as_posix(): path.read_text(encoding="utf-8")
        for path in SOURCES.rglob("*.py")
        if "templates/project" not in path.as_posix()  # An application, not a part of hostedagent.
    }

    assert [path for path, text in texts.items() if literal.search(text)] == ["platform.py"]
