"""The content table: one row for each family, and the two ways to look a row up."""

from hostedagent.content._codec import COMPLETED, Codec, End, OpenItem, Output, Part
from hostedagent.content.code_interpreter import CODE_INTERPRETER
from hostedagent.content.function import FUNCTION
from hostedagent.content.image import IMAGE
from hostedagent.content.mcp import MCP
from hostedagent.content.reasoning import REASONING
from hostedagent.content.search import SEARCH
from hostedagent.content.signals import SIGNALS
from hostedagent.content.text import TEXT

CODECS: tuple[Codec, ...] = (
    TEXT,
    REASONING,
    FUNCTION,
    MCP,
    CODE_INTERPRETER,
    IMAGE,
    SEARCH,
    SIGNALS,
)

BY_CONTENT: dict[str, Codec] = {kind: codec for codec in CODECS for kind in codec.content_types}
"""Agent Framework content type to its family."""

BY_ITEM: dict[str, Codec] = {kind: codec for codec in CODECS for kind in codec.item_types}
"""Responses item type to its family."""

__all__ = ["BY_CONTENT", "BY_ITEM", "CODECS", "COMPLETED", "Codec", "End", "OpenItem", "Output", "Part"]
