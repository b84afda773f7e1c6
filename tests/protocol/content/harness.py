"""Runs updates through the projection, and items back through the readers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from agent_framework import AgentResponseUpdate, Content

from hostedagent.options import OwnTools
from hostedagent.protocol.content import BY_ITEM, COMPLETED, End, Output, ToolRoles
from hostedagent.protocol.stream.builder import Projection
from hostedagent.protocol.stream.response import ResponseBuilder
from hostedagent.protocol.types import Effect

RESPONSE_ID = "caresp_" + "0123456789abcdef00" + "r" * 32


@dataclass
class Projected:
    """What a run put on the wire: events without the terminal, the stored items, and the effects."""

    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    items: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    effects: list[Effect] = field(default_factory=list[Effect])

    @property
    def types(self) -> list[str]:
        return [event["type"].removeprefix("response.") for event in self.events]


def update(*contents: Content, role: str = "assistant", **fields: Any) -> AgentResponseUpdate:
    """One update with these contents."""
    return AgentResponseUpdate(contents=list(contents), role=role, **fields)


def project(
    updates: Iterable[AgentResponseUpdate | Content],
    *,
    held_calls: frozenset[str] = frozenset(),
    tools: ToolRoles | None = None,
    end: End = COMPLETED,
    own_tools: OwnTools = "function_call",
    **fields: Any,
) -> Projected:
    """Project updates as the turn driver does; a bare content is an update of its own.

    Calls and results stay two items here: the family of functions is tested with them, `mcp_call` in test_own_tools.
    """
    builder = ResponseBuilder(RESPONSE_ID)
    tools = tools or ToolRoles(asking=held_calls)
    projection = Projection(Output(builder, tools, own_tools=own_tools, **fields))
    result = Projected()

    def take(emissions: Iterable[Any]) -> None:
        for emission in emissions:
            if isinstance(emission, dict):
                result.events.append(cast("dict[str, Any]", emission))
            else:
                result.effects.append(emission)

    for step in updates:
        take(projection.update(step if isinstance(step, AgentResponseUpdate) else update(step)))
    take(projection.close(end))
    result.items = builder.response["output"]
    return result


def read(item: dict[str, Any]) -> list[Content]:
    """Read one item as the request does."""
    reader = BY_ITEM[item["type"]].read
    assert reader is not None
    return list(reader(item))
