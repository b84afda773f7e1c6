"""Turns of an agent that has MCP tools, and what they come to."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from agent_framework import Agent, Content, ContextProvider

from hostedagent import AgentHost, HostOptions, McpTools, memory_stores
from hostedagent.mcp.session import HeaderFunction
from hostedagent.testing import InProcessClient, OfflineChatClient, serve

ORIGINS = frozenset({"https://login.example"})


def call(tool: str, /, **arguments: Any) -> Content:
    """What a model says that calls a tool."""
    return Content.from_function_call(f"call_{tool}", tool, arguments=json.dumps(arguments))


def mcp(label: str, server: Any, *, headers: HeaderFunction | None = None, **options: Any) -> McpTools:
    """Tools of a server, with patience for a busy machine."""
    given: dict[str, Any] = {"patience": 60.0, **options}
    return McpTools(label, server, headers=headers, **given)


@dataclass(frozen=True, slots=True)
class World:
    client: InProcessClient
    model: OfflineChatClient

    async def turn(self, user: str | None = None, **fields: Any) -> dict[str, Any]:
        """One turn, whole; `user` is who the platform says it is."""
        headers = {"x-agent-user-id": user, "x-agent-foundry-call-id": f"call-of-{user}"} if user else {}
        reply = await self.client.post("/responses", json={"input": "hi", **fields}, headers=headers)
        assert reply.status == 200, reply.text
        return reply.json()


@asynccontextmanager
async def world(
    *providers: ContextProvider, script: Iterable[Any] = ("hello",), tools: Any = None, **options: Any
) -> AsyncGenerator[World]:
    """Serve one agent, which all turns share."""
    model = OfflineChatClient(script=list(script))
    agent = Agent(model, name="helper", tools=tools, context_providers=list(providers))
    options = {"consent_origins": ORIGINS, "consent": "item", **options}
    async with serve(AgentHost(agent, options=HostOptions(**options), stores=memory_stores()).app) as client:
        yield World(client, model)


def kinds(response: dict[str, Any]) -> list[str]:
    return [item["type"] for item in response["output"]]


def outputs(response: dict[str, Any]) -> list[Any]:
    """What the tools said."""
    calls = [item for item in response["output"] if item["type"] == "mcp_call" and item["status"] != "incomplete"]
    return [call["error"]["content"][0]["text"] if call["error"] else call["output"] for call in calls]


def text(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"])
