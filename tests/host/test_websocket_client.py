"""WebSocket mode with the real client, over a real connection to the server that `AgentHost.run` starts."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
import uvicorn
import websockets
from openai.types.websocket_reconnection import ReconnectingEvent, ReconnectingOverrides

from hostedagent import AgentHost, HostOptions
from hostedagent.server.httptools import bounded
from hostedagent.server.limits import ConnectionLimits
from hostedagent.server.serve import listening
from hostedagent.testing import ScriptedAgent


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()


class Address:
    def __init__(self, port: int, server: uvicorn.Server) -> None:
        self.port = port
        self._server = server

    def __str__(self) -> str:
        return f"127.0.0.1:{self.port}"

    def drop(self) -> None:
        """Lose every connection, as a network does."""
        for connection in self._server.server_state.connections:
            connection.transport.abort()


@asynccontextmanager
async def serving(agent: Any, **given: Any) -> AsyncGenerator[Address]:
    """A host on a free port, on the protocol of `AgentHost.run`."""
    async with serving_app(AgentHost(agent, driver="starlette", **given).app) as address:
        yield address


@asynccontextmanager
async def serving_app(app: Any) -> AsyncGenerator[Address]:
    """An app on a free port, on the protocol of `AgentHost.run`."""
    config = uvicorn.Config(
        app, http=bounded(ConnectionLimits()), ws="wsproto", lifespan="on", log_config=None, ws_max_size=10_000
    )
    server = _Announcing(config)
    with listening("127.0.0.1", 0) as listener:
        running = asyncio.create_task(server.serve(sockets=[listener]))
        await server.is_up.wait()
        try:
            yield Address(listener.getsockname()[1], server)
        finally:
            server.should_exit = True
            await running


def client(address: Address) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"http://{address}/v1", api_key="unused", max_retries=0)


async def completed(connection: Any) -> Any:
    async for event in connection:
        if event.type == "response.completed":
            return event.response
        assert event.type not in ("response.failed", "error"), event
    raise AssertionError("the connection was closed")


async def test_the_client_connects_and_continues_a_chain() -> None:
    agent = ScriptedAgent(["one"], ["two"])
    async with serving(agent) as address, client(address) as api, api.responses.connect() as connection:
        await connection.response.create(input="a", store=False)
        first = await completed(connection)
        await connection.response.create(input="b", store=False, previous_response_id=first.id)
        second = await completed(connection)

    assert (first.output_text, second.output_text) == ("one", "two")
    assert [message.text for message in agent.calls[1].messages] == ["a", "one", "b"]


async def test_the_client_reads_a_refusal() -> None:
    async with serving(ScriptedAgent()) as address, client(address) as api, api.responses.connect() as connection:
        await connection.response.create(input="a", temperature=99)
        event = await connection.recv()

    assert event.type == "error" and event.error.param == "temperature"


async def test_the_client_connects_again_after_a_drop_and_continues_what_is_stored() -> None:
    dropped = asyncio.Event()

    def reconnecting(event: ReconnectingEvent) -> ReconnectingOverrides | None:
        dropped.set()
        return None

    async with serving(ScriptedAgent(["one"], ["two"])) as address, client(address) as api:
        async with api.responses.connect(on_reconnecting=reconnecting, initial_delay=0.001) as connection:
            await connection.response.create(input="a")
            first = await completed(connection)
            continued = asyncio.ensure_future(completed(connection))
            address.drop()
            await dropped.wait()
            await connection.response.create(input="b", previous_response_id=first.id)
            second = await continued

    assert second.output_text == "two"


async def test_a_message_beyond_the_limit_closes_the_connection() -> None:
    async with serving(ScriptedAgent()) as address, websockets.connect(f"ws://{address}/responses") as connection:
        await connection.send("a" * 20_000)
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await connection.recv()

    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009


async def test_http_on_the_same_port_ignores_other_offers() -> None:
    async with serving(ScriptedAgent()) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
        writer.write(
            f"GET /readiness HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: h2c\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n")
        writer.close()

    assert head == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("hosts", ["", "host: a\r\nhost: b\r\n"])
async def test_a_handshake_names_one_host(hosts: str) -> None:
    async with serving(ScriptedAgent(), options=HostOptions()) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
        key = base64.b64encode(b"0" * 16).decode()
        writer.write(
            f"GET /responses HTTP/1.1\r\n{hosts}connection: Upgrade\r\nupgrade: websocket\r\n"
            f"sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n")
        writer.close()

    assert b" 400 " in head
