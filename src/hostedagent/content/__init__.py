"""The content table: one row for each family, and the two ways to look a row up."""

from hostedagent.content._codec import COMPLETED, Codec, End, OpenItem, Output, Part
from hostedagent.content.function import FUNCTION
from hostedagent.content.signals import SIGNALS
from hostedagent.content.text import TEXT

CODECS: tuple[Codec, ...] = (
    TEXT,
    FUNCTION,
    SIGNALS,
)

BY_CONTENT: dict[str, Codec] = {kind: codec for codec in CODECS for kind in codec.content_types}
"""Agent Framework content type to its family."""

BY_ITEM: dict[str, Codec] = {kind: codec for codec in CODECS for kind in codec.item_types}
"""Responses item type to its family."""

__all__ = ["BY_CONTENT", "BY_ITEM", "CODECS", "COMPLETED", "Codec", "End", "OpenItem", "Output", "Part"]
