"""The caller's tools: function tools become declarations that the caller runs; server-side tools need permission."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Final

from agent_framework import FunctionTool, ToolMode
from msgspec import Struct, field
from msgspec.structs import replace

from hostedagent.errors import InvalidRequest, UnsupportedOption
from hostedagent.options import CallerPolicy
from hostedagent.protocol.checks import array, flag, mapping, optional, text
from hostedagent.protocol.content.approval import LOCAL_SERVER
from hostedagent.protocol.types import Json
from hostedagent.protocol.values import fields_of, is_array, is_object

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_MODES: Final = ("none", "auto", "required")


class CallerTools(Struct, frozen=True):
    """The tools of a request.

    Args:
        functions: Declaration-only tools by the field of the request that declares each: the model may call them, the
            caller runs them.
        server: Server-side tools that the policy allows, as the caller wrote them.
        choice: Which tools the model may or must call; `None` when the request leaves it open.
        chosen: The function names in `choice`, by the field of the request that names each.
    """

    functions: Mapping[str, FunctionTool] = field(default_factory=dict[str, FunctionTool])
    server: tuple[Mapping[str, Json], ...] = ()
    echo: tuple[Mapping[str, Json], ...] = ()
    choice: ToolMode | None = None
    chosen: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def names(self) -> frozenset[str]:
        """The names of the caller's functions."""
        return frozenset(tool.name for tool in self.functions.values())

    def for_run(self) -> list[FunctionTool | Mapping[str, Json]]:
        """The tools as a run takes them."""
        return [*self.functions.values(), *self.server]

    def choosing(self, choice: Json) -> CallerTools:
        """The same tools with a `tool_choice` of the caller.

        Raises:
            InvalidRequest: It is neither a mode, nor a function, nor a set of allowed functions.
        """
        mode, chosen = _parse_choice(choice)
        return replace(self, choice=mode, chosen=chosen)

    def check_names(self, own: Container[str]) -> None:
        """Check that no tool has the name of one of the agent's own tools.

        Raises:
            InvalidRequest: One has; `param` names it.
        """
        for param, tool in self.functions.items():
            if tool.name in own:
                raise InvalidRequest(
                    f"{param}.name {tool.name!r} is the name of one of the agent's own tools. Rename your tool.",
                    param=f"{param}.name",
                )

    def check_choice(self, own: Container[str]) -> None:
        """Check that `tool_choice` names only tools of the caller or of the agent.

        Raises:
            InvalidRequest: It names another; `param` names the field.
        """
        names = self.names
        for param, name in self.chosen.items():
            if name not in names and name not in own:
                raise InvalidRequest(
                    f"{param} {name!r} names no tool: neither the request nor the agent has a function of that name.",
                    param=param,
                )


def parse_tools(value: Json, policy: CallerPolicy) -> CallerTools:
    """Parse `tools`.

    Raises:
        InvalidRequest: A tool is malformed, or two have the same name.
        UnsupportedOption: The policy does not allow a tool's type.
    """
    if value is None:
        return CallerTools()
    functions: dict[str, FunctionTool] = {}
    names: set[str] = set()
    server: list[Mapping[str, Json]] = []
    echo: list[Mapping[str, Json]] = []
    for n, row in enumerate(array(value, "tools")):
        param = f"tools[{n}]"
        wire = mapping(row, param)
        if wire.get("type") == "function":
            functions[param] = tool = _function(wire, param, policy)
            if tool.name in names:
                raise InvalidRequest(f"{param}.name {tool.name!r} is used twice.", param=f"{param}.name")
            names.add(tool.name)
        elif _is_server_tool(wire, param, policy):
            server.append(wire)
        else:
            continue
        echo.append(wire)
    return CallerTools(functions, tuple(server), tuple(echo))


def _function(wire: Mapping[str, Json], param: str, policy: CallerPolicy) -> FunctionTool:
    if not policy.allow_function_tools:
        raise UnsupportedOption(f"{param}: this agent does not accept tools of callers.", param=param)
    name, description = wire.get("name"), optional(text, wire.get("description"), f"{param}.description")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidRequest(f"{param}.name must be 1 to 128 letters, digits, '_', '.' or '-'.", param=f"{param}.name")
    optional(flag, wire.get("strict"), f"{param}.strict")
    schema = _parameters(wire.get("parameters"), f"{param}.parameters")
    return FunctionTool(name=name, description=description or "", input_model=schema, func=None)


def _parameters(value: Json, param: str) -> dict[str, Json]:
    """The schema of a function's arguments, which are an object; without one, of an object without fields."""
    if value is None:
        return {"type": "object", "properties": {}}
    if not is_object(value):
        raise InvalidRequest(f"{param} must be a JSON schema object.", param=param)
    if (kind := value.get("type", "object")) != "object":
        raise InvalidRequest(f'{param}.type must be "object", not {kind!r}.', param=f"{param}.type")
    return value if "type" in value else {"type": "object", "properties": {}, **value}


def _is_server_tool(wire: Mapping[str, Json], param: str, policy: CallerPolicy) -> bool:
    """Whether a tool that is not a function goes to the model's service; what is dropped does not."""
    kind = text(wire.get("type"), f"{param}.type")
    if kind == "mcp" and wire.get("server_label") == LOCAL_SERVER:
        # Not a server: clients need it to answer questions about the agent's own tools, which have this label.
        return False
    if kind in policy.allow_server_tools:
        return True
    if policy.unknown_tools == "drop":
        return False
    raise UnsupportedOption(
        f"{param}.type {kind!r} is not accepted: callers may bring function tools only. The host's developer can allow "
        'the type, or have it ignored with CallerPolicy(unknown_tools="drop").',
        param=f"{param}.type",
    )


def _parse_choice(value: Json) -> tuple[ToolMode, dict[str, str]]:
    if isinstance(value, str) and value in _MODES:
        return ToolMode(mode=value), {}
    if is_object(value):
        if value.get("type") in ("function", "custom"):
            name = _choice_name(value, "tool_choice")
            return ToolMode(mode="required", required_function_name=name), {"tool_choice.name": name}
        if value.get("type") == "allowed_tools":
            return _allowed_tools(value)
    raise InvalidRequest(
        "tool_choice must be none, auto, required, a function ({type: function, name}) or allowed_tools.",
        param="tool_choice",
    )


def _allowed_tools(wire: Mapping[str, Json]) -> tuple[ToolMode, dict[str, str]]:
    mode, tools = wire.get("mode", "auto"), wire.get("tools")
    if mode not in _MODES:
        raise InvalidRequest("tool_choice.mode must be none, auto or required.", param="tool_choice.mode")
    if not is_array(tools) or not tools:
        raise InvalidRequest("tool_choice.tools must be a non-empty array.", param="tool_choice.tools")
    if mode == "none":
        return ToolMode(mode="none"), {}
    rows = [(f"tool_choice.tools[{n}]", row) for n, row in enumerate(tools)]
    chosen = {f"{param}.name": _choice_name(row, param) for param, row in rows}
    return ToolMode(mode="required" if mode == "required" else "auto", allowed_tools=list(chosen.values())), chosen


def _choice_name(wire: Json, param: str) -> str:
    name = fields_of(wire).get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"{param}.name must be the name of a function.", param=f"{param}.name")
    return name
