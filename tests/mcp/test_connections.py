"""The connection of a turn to a server, where calls that share it fail at different times."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from agent_framework import Content
from mcp import MCPError
from mcp.types import INVALID_REQUEST

from hostedagent import TurnRequest
from hostedagent.mcp import client as transport
from hostedagent.mcp.session import ServerInTurn, TurnHeaders


async def test_a_call_that_fails_late_leaves_the_connection_that_another_one_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two calls use the first connection, which the server forgets; it tells one of them when the other goes on."""
    closed: list[int] = []
    made: list[int] = []
    there, again, let_go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def connected(*args: Any, **more: Any) -> AsyncGenerator[int]:
        made.append(len(made))
        number = made[-1]
        yield number
        closed.append(number)

    async def call_tool(client: int, name: str, arguments: Mapping[str, Any]) -> list[Content]:
        if client > 0 and name == "first":
            again.set()
            await let_go.wait()
        elif client == 0:
            if name == "second":
                there.set()
            await (again if name == "second" else there).wait()
            raise MCPError(INVALID_REQUEST, "Session terminated")
        return [Content.from_text(f"{name} on {client}")]

    monkeypatch.setattr(transport, "connected", connected)
    monkeypatch.setattr(transport, "call_tool", call_tool)
    headers = TurnHeaders(None, cast("TurnRequest", None))
    server = ServerInTurn("docs", "https://mcp.example", headers, patience=60, timeout=60)

    calls = asyncio.create_task(server.call("first", {})), asyncio.create_task(server.call("second", {}))
    assert [content.text for content in await calls[1]] == ["second on 1"]
    assert closed == [0]
    let_go.set()
    assert [content.text for content in await calls[0]] == ["first on 1"]
    await server.close()

    assert (made, closed) == ([0, 1], [0, 1])
