"""Functions: streamed calls and their results.

The fragments of a call are matched by the occurrence id that Agent Framework adds to them, else by the call id. How a
call is shown depends on who runs the tool: see `function_call.py` for the caller's and `own_tools.py` for the agent's.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent_framework import Content, get_namespaced_value

from hostedagent.protocol.checks import required_text
from hostedagent.protocol.content.codec import Codec, Key, OpenItem, Output, Part
from hostedagent.protocol.content.function_call import FIELD, call_key
from hostedagent.protocol.content.own_tools import open_call, open_tool_result
from hostedagent.protocol.content.parts import read_parts
from hostedagent.protocol.content.search import open_tool_search
from hostedagent.protocol.types import Item


def read(item: Item) -> Sequence[Content]:
    """Read a call or an output of a function or of a custom tool."""
    call_id = required_text(item, "call_id")
    match item.get("type"):
        case "function_call" | "custom_tool_call" as kind:
            custom = kind == "custom_tool_call"
            call = Content.from_function_call(
                call_id,
                required_text(item, "name"),
                arguments=required_text(item, FIELD[kind], may_be_empty=True) or ("" if custom else "{}"),
                informational_only=custom,
                hosted=custom or None,
                additional_properties={"openai": {"item_type": kind}} if custom else None,
            )
            return [call]
        case _:
            parts = read_parts(item.get("output"), "output")
            return [Content.from_function_result(call_id, result=parts)]


def key(part: Part) -> Key | None:
    """A call and its result have separate keys; a fragment without an id belongs to the latest call."""
    ident = call_key(part.content)
    if part.content.type == "function_result":
        return ("function", "result", ident or "")
    return ("function", "call", ident) if ident else None


def open_function(part: Part, output: Output) -> OpenItem:
    """A call streams; a result arrives whole. OpenAI's client represents its tool search as a function call."""
    content = part.content
    if content.type == "function_result":
        return open_tool_result(part, output)
    if get_namespaced_value(content.additional_properties, "openai", "item_type") == "tool_search_call":
        return open_tool_search(part, output)
    return open_call(part, output)


FUNCTION = Codec(
    family="function",
    content_types=("function_call", "function_result"),
    item_types={
        "function_call": "assistant",
        "function_call_output": "tool",
        "custom_tool_call": "assistant",
        "custom_tool_call_output": "tool",
    },
    read=read,
    open=open_function,
    key=key,
)
