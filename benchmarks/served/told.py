"""What a request asks of the model, read the same way by the model and by the host that has none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WORD = "word "
_TOLD = re.compile(r"(words|pause)=(\d+)")


@dataclass(frozen=True, slots=True)
class Told:
    """`words=200 pause=5 tool`: call a tool, then answer with 200 updates of one word, 5 ms apart."""

    words: int = 10
    pause: float = 0.0
    calls_tool: bool = False

    @classmethod
    def by(cls, text: str) -> Told:
        end = text[-100:]
        found = {name: int(value) for name, value in _TOLD.findall(end)}
        return cls(words=found.get("words", 10), pause=found.get("pause", 0) / 1000, calls_tool=end.endswith("tool"))


def last_text(request: Mapping[str, Any]) -> str:
    """The text of the last input message of a Responses request."""
    given = request.get("input", "")
    if isinstance(given, str):
        return given
    content = given[-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]
