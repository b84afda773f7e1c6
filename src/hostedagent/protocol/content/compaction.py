"""Compaction: one item that replaces everything before it.

The host creates it and seals the compacted messages in it; `transcript/compaction.py` restores them. An item of another
service, whose content only that service can read, becomes the text `[compaction]`.
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
    """Describe an item that this host did not create."""
    sealed = item.get("encrypted_content")
    if sealed is not None and not isinstance(sealed, str):
        raise InvalidRequest("compaction.encrypted_content must be a string.", param="encrypted_content")
    return [Content.from_text(f"[{ITEM}]")]


COMPACTION = Codec(
    family="compaction",
    item_types={ITEM: "assistant"},
    read=read,
    absent={
        "emit": "Agent Framework has no content for it: the host creates the item before the agent runs.",
        "stream": "Agent Framework has no content for it: the host creates the item before the agent runs.",
    },
    limits=(
        "A `compaction` item of another service is kept, but the model sees only `[compaction]`, because only that "
        "service can read the content.",
        "Agents that compact by themselves (`compaction_strategy`, `CompactionProvider`) send no item.",
    ),
)
