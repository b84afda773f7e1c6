"""A reader that does not read, over a real socket: the agent waits for it, and memory does not grow."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from agent_framework import AgentResponse, AgentResponseUpdate, Content, ResponseStream
from hypercorn.asyncio import serve  # pyright: ignore[reportUnknownVariableType]
from hypercorn.config import Config

from hostedagent import AgentHost
from hostedagent.engine.flow_control import MAX_AHEAD, FlowControl
from hostedagent.testing import ScriptedAgent
from tests.patience import PATIENCE

WORD = "x" * 4096
MANY = 2000
"""Words, of which the buffers of the sockets hold a part."""


class Breathless(ScriptedAgent):
    """Says long words without ever giving way."""

    def __init__(self, words: int = MANY) -> None:
        super().__init__()
        self.words = words
        self.said = 0
        self.stopped = asyncio.Event()

    def run(self, *args: Any, **kwargs: Any) -> Any:
        return ResponseStream(self._updates(), finalizer=AgentResponse.from_updates)

    async def _updates(self) -> AsyncIterator[AgentResponseUpdate]:
        try:
            while self.said < self.words:
                self.said += 1
                yield AgentResponseUpdate(contents=[Content.from_text(WORD)])
        finally:
            self.stopped.set()


@asynccontextmanager
async def listening(agent: ScriptedAgent) -> AsyncGenerator[int]:
    """Serve on a socket of this process, with the server that `run` uses."""
    ends = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # Else the system takes megabytes.
        config = Config()
        config.bind = [f"fd://{listener.detach()}"]
        config.graceful_timeout = 1
        with socket.socket(fileno=int(config.bind[0][5:])) as bound:
            port = bound.getsockname()[1]
            serving = asyncio.create_task(
                serve(cast("Any", AgentHost(agent).app), config, shutdown_trigger=cast("Any", ends.wait))
            )
            try:
                yield port
            finally:
                ends.set()
                await serving
                bound.detach()


async def ask(port: int, method: str, path: str, body: Any = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
    data = json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    return reader, writer


async def ready(port: int) -> None:
    reader, writer = await ask(port, "GET", "/readiness")
    assert b"healthy" in await reader.read()
    writer.close()


async def held_back(agent: Breathless, port: int) -> None:
    """Wait until the agent says no more, for as long as others are served."""
    async with asyncio.timeout(PATIENCE):
        before = -1
        while before != agent.said:
            before = agent.said
            for _ in range(10):
                await ready(port)


@pytest.mark.parametrize("store", [True, False], ids=["stored", "not stored"])
async def test_the_agent_waits_for_a_reader_that_does_not_read_and_stops_when_it_goes(store: bool) -> None:
    agent = Breathless(10**9)
    async with listening(agent) as port:
        reader, writer = await ask(port, "POST", "/responses", {"input": "hi", "stream": True, "store": store})
        await reader.readuntil(b"output_text.delta")

        await held_back(agent, port)
        assert agent.said < MANY / 2
        assert not agent.stopped.is_set()

        writer.transport.abort()
        async with asyncio.timeout(PATIENCE):
            await agent.stopped.wait()


async def test_a_reader_that_reads_on_gets_everything() -> None:
    agent = Breathless()
    async with listening(agent) as port:
        reader, writer = await ask(port, "POST", "/responses", {"input": "hi", "stream": True})
        await held_back(agent, port)

        words = 0
        async with asyncio.timeout(PATIENCE):
            while chunk := await reader.read(1 << 20):
                words += chunk.count(b"x")
        writer.close()

    assert agent.said == MANY
    assert words > 2 * MANY * len(WORD), "the deltas and the whole text, which comes several times at the end"


async def test_a_turn_goes_on_when_events_were_never_sent() -> None:
    delivery = FlowControl()

    async with asyncio.timeout(PATIENCE):
        for _ in range(MAX_AHEAD + 1):
            await delivery.give()
