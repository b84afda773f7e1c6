"""The content table: one row for each family, and the two ways to look a row up."""

from hostedagent.content._codec import COMPLETED, INCOMPLETE, Codec, End, OpenItem, Output, Part, wire_json
from hostedagent.content.approval import APPROVAL
from hostedagent.content.code_interpreter import CODE_INTERPRETER
from hostedagent.content.computer import COMPUTER
from hostedagent.content.files import FILES
from hostedagent.content.function import FUNCTION
from hostedagent.content.image import IMAGE
from hostedagent.content.mcp import MCP
from hostedagent.content.oauth import OAUTH
from hostedagent.content.passthrough import NOT_ITEMS, PASSTHROUGH
from hostedagent.content.reasoning import REASONING
from hostedagent.content.search import SEARCH
from hostedagent.content.shell import SHELL
from hostedagent.content.signals import SIGNALS
from hostedagent.content.text import TEXT

CODECS: tuple[Codec, ...] = (
    TEXT,
    REASONING,
    FUNCTION,
    APPROVAL,
    MCP,
    CODE_INTERPRETER,
    IMAGE,
    SEARCH,
    FILES,
    SHELL,
    COMPUTER,
    OAUTH,
    SIGNALS,
    PASSTHROUGH,
)

BY_CONTENT: dict[str, Codec] = {kind: codec for codec in CODECS for kind in codec.content_types}
"""Agent Framework content type to its family."""

BY_ITEM: dict[str, Codec] = {kind: codec for codec in CODECS for kind in codec.item_types}
"""Responses item type to its family."""

__all__ = [
    "BY_CONTENT",
    "BY_ITEM",
    "CODECS",
    "COMPLETED",
    "INCOMPLETE",
    "NOT_ITEMS",
    "Codec",
    "End",
    "OpenItem",
    "Output",
    "Part",
    "wire_json",
]
