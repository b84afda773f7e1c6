"""MCP tools that the model's service calls itself: `mcp_call`, and the `mcp_list_tools` before it.

Arguments that are missing from the call are taken from the provider's object that accompanies the result. Tools of an
MCP server that the agent itself connects to are functions and do not belong to this family.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final, cast

from agent_framework import Content, get_namespaced_value
from pydantic import BaseModel

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.content.calls import (
    CallItem,
    CallStatus,
    raw_text,
    raw_value,
    read_call_id,
    read_list,
    read_status,
    read_text,
)
from hostedagent.protocol.content.codec import Codec, Key, Output, Part
from hostedagent.protocol.content.function import read as read_function
from hostedagent.protocol.content.outputs import contents_of, is_binary
from hostedagent.protocol.content.own_calls import function_items, is_own_call
from hostedagent.protocol.content.parts import write_part
from hostedagent.protocol.json import is_whole
from hostedagent.protocol.types import Event, Item, Json, MutableItem
from hostedagent.protocol.values import is_mapping, objects_of
from hostedagent.protocol.wire import wire_json, wire_text

_ERROR_TYPES: Final = ("mcp_protocol_error", "mcp_tool_execution_error", "http_error")


def read(item: Item) -> Sequence[Content]:
    """Read a call with its result, if any, or a list of tools."""
    if item.get("type") == "mcp_list_tools":
        return [_read_tools(item)]
    if is_own_call(item):
        return [content for row in function_items([item]) for content in read_function(row)]
    call_id, name = read_call_id(item), read_text(item, "name")
    if not name:
        raise InvalidRequest("mcp_call needs name, a non-empty string.", param="name")
    approval = read_text(item, "approval_request_id")
    contents = [
        Content.from_mcp_server_tool_call(
            call_id,
            name,
            server_name=read_text(item, "server_label"),
            arguments=read_text(item, "arguments") or "",
            additional_properties={"openai": {"approval_request_id": approval}} if approval else None,
        )
    ]
    output, error, status = read_text(item, "output"), item.get("error"), read_status(item)
    if output is not None or error is not None or status is not None:
        properties: dict[str, Json] = {"status": status} if status else {}
        if error is not None:
            properties["error"] = error
        if error is not None and output is None:  # The model must see the error, and clients send only the output.
            output = error if isinstance(error, str) else wire_json(error)
            properties["output_is_error"] = True
        contents.append(
            # A string is the only form that every model client can send.
            Content.from_mcp_server_tool_result(
                call_id, output=output, additional_properties={"mcp": properties} if properties else None
            )
        )
    return contents


def _read_tools(item: Item) -> Content:
    names = [str(tool.get("name")) for tool in objects_of(read_list(item, "tools"))]
    return Content.from_text(f"[tools of the MCP server {item.get('server_label')}: {', '.join(names) or 'none'}]")


def key(part: Part) -> Key:
    """A call and its result are one item."""
    return ("mcp", part.content.call_id or "")


class OpenMcpCall(CallItem):
    """A call of a tool on an MCP server."""

    prefix: ClassVar[str] = "mcp"
    item_type: ClassVar[str] = "mcp_call"

    def __init__(self, part: Part, output: Output) -> None:
        super().__init__(part, output)
        self._server = self._name = ""
        self._waiting = self._arguments = ""
        self._approval: object = None
        self._output: str | None = None
        self._error: Json = None

    def take(self, part: Part) -> Iterator[Event]:
        """Take the call or its result; each may have fields that the other lacks."""
        content = part.content
        self._server = self._server or content.server_name or raw_text(content, "server_label")
        self._name = self._name or content.tool_name or raw_text(content, "name")
        self._approval = self._approval or get_namespaced_value(
            content.additional_properties, "openai", "approval_request_id"
        )
        if arguments := _arguments(content):
            self._waiting = wire_text(arguments)
        if content.type == "mcp_server_tool_call":
            yield from self.begin()
            if self._waiting:
                yield from self._say_arguments()
            return
        self._output = None if _mark(content, "output_is_error") else _output(content)
        self._error = _error(content, self._output)
        if self._error is not None:
            self.failed_with = "failed"
        elif raw_text(content, "status") == "incomplete" or _mark(content, "status") == "incomplete":
            self.failed_with = "incomplete"
        elif "failed" in (raw_text(content, "status"), _mark(content, "status")):
            self.failed_with = "failed"
        elif self._waiting and not is_whole(self._waiting):
            self.failed_with = "incomplete"
        self.has_result = True

    def _say_arguments(self) -> Iterator[Event]:
        if self._waiting and not self._arguments:
            self._arguments = self._waiting
            yield self.opened.event("response.mcp_call_arguments.delta", delta=self._arguments)
            yield self.opened.event("response.mcp_call_arguments.done", arguments=self._arguments)

    def finish(self, status: CallStatus) -> Iterator[Event]:
        """The arguments, if only the result had them; a failure is a progress event of its own."""
        if status != "incomplete" and not self._arguments:
            self._waiting = self._waiting or "{}"
        yield from self._say_arguments()
        if status == "failed":
            yield self.step("failed")

    def wire(self, status: CallStatus) -> MutableItem:
        """The item with its result."""
        return {
            "type": "mcp_call",
            "server_label": self._server,
            "name": self._name,
            "arguments": self._arguments,
            "output": self._output,
            "error": self._error,
            "approval_request_id": self._approval if isinstance(self._approval, str) else None,
            "status": status,
        }


def _arguments(content: Content) -> str:
    """The arguments as JSON; an empty mapping counts as absent, because a provider may send the real ones later."""
    if content.arguments:
        return content.arguments if isinstance(content.arguments, str) else wire_json(content.arguments)
    return raw_text(content, "arguments")


def _output(content: Content) -> str | None:
    output: object = content.output
    if output is None or isinstance(output, str):
        return output if output is None else wire_text(output)
    if is_binary(output):
        output = contents_of(output)
    if not isinstance(output, Sequence):
        return wire_json(output)
    entries = cast("Sequence[object]", output)
    if all(isinstance(entry, Content) and entry.type == "text" for entry in entries):
        return wire_text("".join(cast("Content", entry).text or "" for entry in entries))
    return wire_json([write_part(entry) if isinstance(entry, Content) else entry for entry in entries])


def _mark(content: Content, name: str) -> Any:
    return get_namespaced_value(content.additional_properties, "mcp", name)


def _error(content: Content, output: str | None) -> Json:
    """The provider's error, in the shape that clients expect."""
    error = _mark(content, "error")
    if error is None:
        error = raw_value(content, "error")
    if isinstance(error, BaseModel):
        error = error.model_dump(mode="json")
    if is_mapping(error) and error.get("type") in _ERROR_TYPES:
        return dict(error)
    if error is not None or raw_value(content, "is_error") is True:
        what = error if isinstance(error, str) or is_mapping(error) else output
        return {"type": "mcp_tool_execution_error", "content": what}
    return None


MCP = Codec(
    family="mcp",
    content_types=("mcp_server_tool_call", "mcp_server_tool_result"),
    item_types={"mcp_call": "assistant", "mcp_list_tools": "assistant"},
    read=read,
    open=OpenMcpCall,
    key=key,
    limits=(
        "Agent Framework has no content for a list of MCP tools: the model reads an `mcp_list_tools` item as a line "
        "of text that names them, and agents never send one.",
        "Anthropic's client does not stream the arguments of a hosted MCP call: they are sent as an empty object.",
        "Results of an MCP tool other than text are written into `output` as JSON.",
    ),
)
