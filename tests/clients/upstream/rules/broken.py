"""How a broken rule is told: the rule in our words, and the sentence the provider answers with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

Json = dict[str, Any]


class BrokenRuleError(AssertionError):
    """A request that the provider would refuse."""

    def __init__(self, rule: str, says: str) -> None:
        super().__init__(f"{rule}: {says}")
        self.rule = rule
        self.says = says


def broken(rule: str, says: str) -> NoReturn:
    """Raise for the rule, with the provider's words."""
    raise BrokenRuleError(rule, says)


def first_repeated(ids: Iterable[str]) -> str | None:
    """The first id that stands twice."""
    seen: set[str] = set()
    for id_ in ids:
        if id_ in seen:
            return id_
        seen.add(id_)
    return None


@dataclass(slots=True)
class Ledger:
    """What the provider itself remembers: the arguments it wrote, and the items of the responses it stored."""

    arguments: dict[str, str] = field(default_factory=dict[str, str])
    transcripts: dict[str, list[Json]] = field(default_factory=dict[str, list[Json]])

    def knows_item(self, id_: str) -> bool:
        """Whether an item with that id is stored."""
        return any(item.get("id") == id_ for transcript in self.transcripts.values() for item in transcript)

    def reasoning_before(self, id_: str) -> str | None:
        """The id of the stored reasoning item that the stored item with that id came from."""
        for transcript in self.transcripts.values():
            reasoning: str | None = None
            for item in transcript:
                if item.get("id") == id_:
                    return reasoning
                if item["type"] == "reasoning":
                    reasoning = item.get("id")
                elif item.get("role") not in (None, "assistant") or item["type"].endswith("_output"):
                    reasoning = None
        return None
