"""Compaction: one item that stands for everything before it.

The host makes it and seals in it what is left of the conversation; `transcript/compaction.py` puts that in its place.
An item of another service, whose content only that service can read, is a line that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agent_framework import Content

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.content.codec import Codec
from hostedagent.protocol.types import Item

ITEM: Final = "compaction"
"""The type of the item."""


def read(item: Item) -> Sequence[Content]:
    """Name an item that this host did not make."""
    sealed = item.get("encrypted_content")
    if sealed is not None and not isinstance(sealed, str):
        raise InvalidRequest("compaction.encrypted_content must be a string.", param="encrypted_content")
    return [Content.from_text(f"[{ITEM}]")]


COMPACTION = Codec(
    family="compaction",
    item_types={ITEM: "assistant"},
    read=read,
    absent={
        "emit": "Agent Framework has no content for it: the host makes the item, before the agent runs.",
        "stream": "Agent Framework has no content for it: the host makes the item, before the agent runs.",
    },
    limits=(
        "A `compaction` item of another service is kept, but reaches no model: only that service can read it.",
        "Agents that compact by themselves (`compaction_strategy`, `CompactionProvider`) send no item.",
    ),
)
