"""The sockets behind `AgentHost.run`; whole processes are tested in tests/cli, tests/lifecycle and tests/crash."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain, repeat
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from hostedagent.bounded_http import MAX_HEAD_BYTES, BoundedProtocol
from hostedagent.serving import listening


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_what_is_written_is_sent_at_once(host: str) -> None:
    try:
        listener = listening(host, 0)
    except OSError:
        if host != "::1":
            raise
        pytest.skip("this machine has no IPv6")
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def met(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        accepted.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async with await asyncio.start_server(met, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        try:
            assert await accepted != 0
        finally:
            writer.close()


def test_an_address_that_is_taken_is_an_error() -> None:
    with listening("127.0.0.1", 0) as taken, pytest.raises(OSError) as error:
        listening(*taken.getsockname())

    assert error.value.errno == errno.EADDRINUSE


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Says how large the body was."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    body = str(size).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]}
    )
    await send({"type": "http.response.body", "body": body})


async def answer(request: Iterable[bytes]) -> bytes:
    """What is answered to a request that comes in pieces, until it is answered or the pieces have ended."""
    config = uvicorn.Config(echo, lifespan="off", log_config=None)
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: BoundedProtocol(config, ServerState(), {}), "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        answered = asyncio.ensure_future(reader.read(65536))
        try:
            with suppress(ConnectionError):
                for piece in request:
                    if answered.done():
                        break
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
            async with asyncio.timeout(10):
                return await answered
        finally:
            writer.close()


PIECE = 1000
LINE = b"GET / HTTP/1.1\r\nhost: a\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        chain([LINE], repeat(b"x: %s\r\n" % (b"a" * PIECE), 100)),
        chain([LINE, b"x: "], repeat(b"a" * PIECE, 100)),
        chain([b"GET /"], repeat(b"a" * PIECE, 100)),
        chain([CHUNKED, b"0\r\n"], repeat(b"x: %s\r\n" % (b"a" * PIECE), 100)),
    ],
    ids=["headers", "one header", "the address", "what follows a body"],
)
async def test_a_head_that_does_not_end_is_refused(request_: Iterable[bytes]) -> None:
    reply = await answer(request_)

    assert reply.startswith(b"HTTP/1.1 400 ")
    assert b"at most 65536 bytes" in reply


@pytest.mark.parametrize(
    ("request_", "size"),
    [
        ([LINE, b"x: %s\r\n" % (b"a" * (MAX_HEAD_BYTES - PIECE)), b"\r\n"], 0),
        ([b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n" + b"a" * 200_000], 200_000),
        ([CHUNKED, *[b"%x\r\n%s\r\n" % (PIECE, b"a" * PIECE)] * 100, b"0\r\n\r\n"], 100 * PIECE + 2),
    ],
    ids=["a long head", "a body with its head", "a body in chunks"],
)
async def test_what_is_no_endless_head_is_served(request_: Iterable[bytes], size: int) -> None:
    reply = await answer(request_)

    assert reply.startswith(b"HTTP/1.1 200 ")
    assert reply.endswith(b"\r\n\r\n%d" % size)
