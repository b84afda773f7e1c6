"""The content table: one row for each family, looked up by content type or by item type."""

from hostedagent.protocol.content.approval import APPROVAL
from hostedagent.protocol.content.code_interpreter import CODE_INTERPRETER
from hostedagent.protocol.content.codec import COMPLETED, INCOMPLETE, Codec, End, OpenItem, Output, Part, ToolRoles
from hostedagent.protocol.content.compaction import COMPACTION
from hostedagent.protocol.content.computer import COMPUTER
from hostedagent.protocol.content.files import FILES
from hostedagent.protocol.content.function import FUNCTION
from hostedagent.protocol.content.image import IMAGE
from hostedagent.protocol.content.mcp import MCP
from hostedagent.protocol.content.oauth import OAUTH
from hostedagent.protocol.content.passthrough import NOT_ITEMS, PASSTHROUGH
from hostedagent.protocol.content.reasoning import REASONING
from hostedagent.protocol.content.search import SEARCH
from hostedagent.protocol.content.shell import SHELL
from hostedagent.protocol.content.signals import SIGNALS
from hostedagent.protocol.content.text import TEXT

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
    COMPACTION,
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
    "ToolRoles",
]
