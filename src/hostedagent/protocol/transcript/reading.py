"""Reads items into contents, each item once.

Input items are read on admission, so that unreadable ones are refused before anything is stored. The transcript of the
turn reuses the contents.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from agent_framework import Content, Message

from hostedagent.errors import InvalidRequest
from hostedagent.observability.metrics import count_left_out
from hostedagent.protocol.content import BY_ITEM, NOT_ITEMS
from hostedagent.protocol.content.compaction import ITEM
from hostedagent.protocol.types import Item

logger = logging.getLogger(__name__)


class ItemReader:
    """Reads the items of one turn, and keeps the contents of each."""

    def __init__(self) -> None:
        self._contents: dict[int, tuple[Item, Sequence[Content]]] = {}
        self._opened: dict[str, Sequence[Message]] = {}

    def read_input(self, item: Item, param: str) -> Sequence[Content]:
        """The contents of an input item.

        Raises:
            InvalidRequest: The item is malformed; `param` is the path from the body's root.
        """
        if (known := self._contents.get(id(item))) is not None:
            return known[1]
        return self._keep(item, _read_input(item, param))

    def read_stored(self, item: Item) -> Sequence[Content]:
        """The contents of a stored item; for an unreadable one, a text that names it."""
        if (known := self._contents.get(id(item))) is not None:
            return known[1]
        return self._keep(item, _read_stored(item))

    def open(self, sealed: str, messages: Sequence[Message]) -> None:
        """Set the messages of the compaction item with this `encrypted_content`."""
        self._opened[sealed] = messages

    def has_opened(self, sealed: str) -> bool:
        """Whether the messages of an `encrypted_content` are known."""
        return sealed in self._opened

    def opened(self, item: Item) -> Sequence[Message] | None:
        """The messages of a compaction item; `None` if they are unknown, and for every other item."""
        if not self._opened or item.get("type") != ITEM:
            return None
        return self._opened.get(str(item.get("encrypted_content")))

    def _keep(self, item: Item, contents: Sequence[Content]) -> Sequence[Content]:
        self._contents[id(item)] = (item, contents)  # Kept with the item, so that no other object gets its `id()`.
        return contents


def _read_input(item: Item, param: str) -> Sequence[Content]:
    kind = item.get("type")
    if kind == "item_reference":
        if not isinstance(item.get("id"), str):
            raise InvalidRequest(f"{param}.id must be the id of a stored item.", param=f"{param}.id")
        return ()
    codec = BY_ITEM.get(str(kind))
    if codec is None or codec.read is None:
        why = f"accepted: {reason}" if (reason := NOT_ITEMS.get(str(kind))) else "an input item type."
        raise InvalidRequest(f"{param}.type {kind!r:.80} is not {why}", param=f"{param}.type")
    try:
        return codec.read(item)
    except InvalidRequest as error:
        path = f"{param}.{error.param}" if error.param else param
        raise InvalidRequest(f"{param}: {error.message}", param=path) from None


def _read_stored(item: Item) -> Sequence[Content]:
    kind = str(item.get("type"))
    codec = BY_ITEM.get(kind)
    try:
        if codec is not None and codec.read is not None:
            return codec.read(item)
    except InvalidRequest:
        pass
    logger.warning("A stored item of type %r cannot be read; the model sees a placeholder.", kind)
    count_left_out("placeholder", kind)
    return (Content.from_text(f"[{kind} that this agent cannot read]"),)
