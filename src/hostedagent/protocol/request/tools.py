"""The caller's tools: function tools become declarations that the caller runs; server-side tools need permission."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from agent_framework import FunctionTool, ToolMode

from hostedagent.errors import InvalidRequest, UnsupportedOption
from hostedagent.options import CallerPolicy
from hostedagent.protocol.types import Json

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_MODES: Final = ("none", "auto", "required")


@dataclass(frozen=True, slots=True)
class CallerTools:
    """The tools of a request.

    Args:
        functions: Declaration-only tools: the model may call them, the caller runs them.
        server: Server-side tools that the policy allows, as the caller wrote them.
        echo: How the response repeats them.
    """

    functions: tuple[FunctionTool, ...] = ()
    server: tuple[Mapping[str, Json], ...] = ()
    echo: tuple[Mapping[str, Json], ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """The names of the caller's functions."""
        return frozenset(tool.name for tool in self.functions)

    def for_run(self) -> list[FunctionTool | Mapping[str, Json]]:
        """The tools as a run takes them."""
        return [*self.functions, *self.server]


def parse_tools(value: Json, policy: CallerPolicy) -> CallerTools:
    """Parse `tools`.

    Raises:
        InvalidRequest: A tool is malformed, or two have the same name.
        UnsupportedOption: The policy does not allow a tool's type.
    """
    if value is None:
        return CallerTools()
    if not isinstance(value, list):
        raise InvalidRequest("tools must be an array.", param="tools")
    functions: dict[str, FunctionTool] = {}
    server: list[Mapping[str, Json]] = []
    echo: list[Mapping[str, Json]] = []
    for n, row in enumerate(cast("list[Json]", value)):
        param = f"tools[{n}]"
        if not isinstance(row, dict):
            raise InvalidRequest(f"{param} must be an object.", param=param)
        wire = cast("dict[str, Json]", row)
        if wire.get("type") == "function":
            tool = _function(wire, param, policy)
            if tool.name in functions:
                raise InvalidRequest(f"{param}.name {tool.name!r} is used twice.", param=f"{param}.name")
            functions[tool.name] = tool
        else:
            server.append(_server(wire, param, policy))
        echo.append(wire)
    return CallerTools(tuple(functions.values()), tuple(server), tuple(echo))


def _function(wire: Mapping[str, Json], param: str, policy: CallerPolicy) -> FunctionTool:
    if not policy.allow_function_tools:
        raise UnsupportedOption(f"{param}: this agent takes no tools from callers.", param=param)
    name, description, parameters = wire.get("name"), wire.get("description"), wire.get("parameters")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidRequest(f"{param}.name must be 1 to 128 letters, digits, '_', '.' or '-'.", param=f"{param}.name")
    if description is not None and not isinstance(description, str):
        raise InvalidRequest(f"{param}.description must be a string.", param=f"{param}.description")
    if parameters is None:
        parameters = cast("Json", {"type": "object", "properties": {}})
    if not isinstance(parameters, dict):
        raise InvalidRequest(f"{param}.parameters must be a JSON schema object.", param=f"{param}.parameters")
    try:
        schema = cast("dict[str, Json]", parameters)
        return FunctionTool(name=name, description=description or "", input_model=schema, func=None)
    except Exception as error:
        raise InvalidRequest(f"{param}.parameters is not a usable JSON schema.", param=f"{param}.parameters") from error


def _server(wire: Mapping[str, Json], param: str, policy: CallerPolicy) -> Mapping[str, Json]:
    kind = wire.get("type")
    if not isinstance(kind, str):
        raise InvalidRequest(f"{param}.type must be a string.", param=f"{param}.type")
    if kind not in policy.allow_server_tools:
        raise UnsupportedOption(
            f"{param}.type {kind!r} is not accepted: callers may bring function tools only.", param=f"{param}.type"
        )
    return wire


def parse_tool_choice(value: Json) -> ToolMode:
    """Parse `tool_choice` in its string and object forms.

    Raises:
        InvalidRequest: It is neither a mode, nor a function, nor a set of allowed functions.
    """
    if isinstance(value, str) and value in _MODES:
        return ToolMode(mode=value)
    if isinstance(value, dict):
        wire = cast("dict[str, Json]", value)
        if wire.get("type") in ("function", "custom"):
            return ToolMode(mode="required", required_function_name=_choice_name(wire, "tool_choice"))
        if wire.get("type") == "allowed_tools":
            return _allowed_tools(wire)
    raise InvalidRequest(
        "tool_choice must be none, auto, required, a function ({type: function, name}) or allowed_tools.",
        param="tool_choice",
    )


def _allowed_tools(wire: Mapping[str, Json]) -> ToolMode:
    mode, tools = wire.get("mode", "auto"), wire.get("tools")
    if mode not in _MODES:
        raise InvalidRequest("tool_choice.mode must be none, auto or required.", param="tool_choice.mode")
    if not isinstance(tools, list) or not tools:
        raise InvalidRequest("tool_choice.tools must be a non-empty array.", param="tool_choice.tools")
    if mode == "none":
        return ToolMode(mode="none")
    names = [_choice_name(row, f"tool_choice.tools[{n}]") for n, row in enumerate(cast("list[Json]", tools))]
    return ToolMode(mode="required" if mode == "required" else "auto", allowed_tools=names)


def _choice_name(wire: Json, param: str) -> str:
    name = cast("dict[str, Json]", wire).get("name") if isinstance(wire, dict) else None
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"{param}.name must be the name of a function.", param=f"{param}.name")
    return name
