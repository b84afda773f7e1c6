"""Drops the items that an earlier process already sent when a service repeats its work from the beginning.

Texts and reasoning are matched by their order, calls and results by their ids. The service's item ids cannot be used,
because the stored items have the host's own ids.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from hostedagent.protocol.content.own_calls import is_own_call
from hostedagent.protocol.types import Item
from hostedagent.protocol.values import rows_of

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate, Content

_SPOKEN: Final = {"message": "text", "reasoning": "text_reasoning"}
_CALLED: Final = {
    "function_call": "function_call",
    "custom_tool_call": "function_call",
    "function_call_output": "function_result",
    "custom_tool_call_output": "function_result",
}


def can_be_left_out(item: Item) -> bool:
    """Whether an item was finished and can be recognised when it is repeated."""
    is_known = item["type"] in {*_SPOKEN, *_CALLED} or is_own_call(item)
    return is_known and item.get("status", "completed") == "completed"


class Told:
    """Recognises the finished items of an earlier process in the updates of this one."""

    def __init__(self, items: Sequence[Item] = ()) -> None:
        self._spoken = {kind: deque[str]() for kind in _SPOKEN.values()}
        self._called: set[tuple[str, str]] = set()
        self._is_known: dict[str, bool] = {}
        for item in items:
            if (kind := _SPOKEN.get(item["type"])) is not None:
                self._spoken[kind].append(_text(item))
            else:
                self._called.add((_CALLED[item["type"]], item["call_id"]))

    def only_new(self, update: AgentResponseUpdate) -> AgentResponseUpdate | None:
        """The update without what was already sent; `None` when nothing remains."""
        ident = _item_id(update)
        new = [content for content in update.contents if not self._was_told(content, ident)]
        if len(new) == len(update.contents):
            return update
        if not new and update.finish_reason is None:
            return None
        rest = copy.copy(update)
        rest.contents = new
        return rest

    def _was_told(self, content: Content, ident: str | None) -> bool:
        if content.type in self._spoken:
            return ident is not None and self._was_said(content, ident)
        return (content.type, content.call_id) in self._called

    def _was_said(self, content: Content, ident: str) -> bool:
        if ident not in self._is_known:
            told = self._spoken[content.type]
            self._is_known[ident] = bool(told) and told[0].startswith(content.text or "")
            if self._is_known[ident]:
                told.popleft()
        return self._is_known[ident]


def _item_id(update: AgentResponseUpdate) -> str | None:
    """The service's id of the item that the update belongs to."""
    raw = getattr(update.raw_representation, "raw_representation", None)
    ident = getattr(raw, "item_id", None) or getattr(getattr(raw, "item", None), "id", None)
    return ident if isinstance(ident, str) else None


def _text(item: Item) -> str:
    parts = [*rows_of(item.get("summary")), *rows_of(item.get("content"))]
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in parts)
