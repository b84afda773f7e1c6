"""The caller's tools: declared for the model, run by the caller, never in the developer's place."""

from typing import Any

import pytest

from hostedagent import CallerPolicy
from hostedagent.errors import InvalidRequest, UnsupportedOption
from hostedagent.protocol.request.tools import parse_tools

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: dict[str, Any] = {"type": "function", "name": "look_up", "description": "Look up.", "parameters": SCHEMA}


def test_a_function_is_declared_and_not_run_here() -> None:
    tools = parse_tools([TOOL], CallerPolicy())

    (function,) = tools.functions.values()
    assert (function.name, function.description, function.func) == ("look_up", "Look up.", None)
    assert function.parameters() == SCHEMA
    assert tools.names == {"look_up"}
    assert tools.for_run() == [function]


@pytest.mark.parametrize("parameters", [None, {}, {"type": "object"}])
def test_a_function_needs_no_parameters(parameters: Any) -> None:
    (function,) = parse_tools([{**TOOL, "parameters": parameters}], CallerPolicy()).functions.values()

    assert function.parameters().get("properties", {}) == {}


@pytest.mark.parametrize("kind", ["web_search", "mcp", "code_interpreter", "file_search", "shell", "custom"])
def test_a_tool_that_the_service_would_run_needs_leave(kind: str) -> None:
    tool = {"type": kind, "server_url": "https://example.com"}

    with pytest.raises(UnsupportedOption):
        parse_tools([tool], CallerPolicy())
    allowed = parse_tools([TOOL, tool], CallerPolicy(allow_server_tools=frozenset({kind})))

    assert allowed.server == (tool,)
    assert allowed.for_run()[1] == tool


def test_a_policy_may_take_no_tools_at_all() -> None:
    with pytest.raises(UnsupportedOption):
        parse_tools([TOOL], CallerPolicy(allow_function_tools=False))

    assert parse_tools([], CallerPolicy(allow_function_tools=False)).for_run() == []


def test_a_name_stands_for_one_tool() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_tools([TOOL, {**TOOL, "name": "other"}, TOOL], CallerPolicy())

    assert refused.value.param == "tools[2].name"


def test_the_response_repeats_the_tools_as_they_came() -> None:
    assert list(parse_tools([TOOL], CallerPolicy()).echo) == [TOOL]
