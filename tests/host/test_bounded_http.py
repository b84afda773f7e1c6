"""HTTP/1.1 on httptools: what h11 does with requests, this does too."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from hostedagent.server.httptools import MAX_HEAD_BYTES, BoundedProtocol
from tests.patience import PATIENCE

Kind = Literal["h11", "httptools"]
Seen = list[tuple[str, str, bytes]]

PROTOCOLS: dict[Kind, Any] = {"h11": H11Protocol, "httptools": BoundedProtocol}
LAST = b"GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"


async def read(reader: asyncio.StreamReader, into: bytearray) -> None:
    """Everything until the connection is closed, or reset for what was sent too late to be read."""
    with suppress(ConnectionError):
        while more := await reader.read(65536):
            into += more


async def exchange(
    pieces: Sequence[bytes], kind: Kind = "httptools", heads: list[list[bytes]] | None = None
) -> tuple[Seen, bytes]:
    """What an application sees of what comes over one connection, in pieces, and what is answered until it closes."""
    seen: Seen = []
    heads = [] if heads is None else heads

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        seen.append((scope["method"], scope["path"], body))
        heads.append([name for name, _ in scope["headers"]])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None)
    loop = asyncio.get_running_loop()
    protocol = PROTOCOLS[kind]
    async with await loop.create_server(lambda: protocol(config, ServerState(), {}), "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        answered = bytearray()
        reading = asyncio.create_task(read(reader, answered))
        try:
            for piece in pieces:
                if reading.done():
                    break
                writer.write(piece)
                for _ in range(5):  # The server reads it before the next one.
                    await asyncio.sleep(0)
            async with asyncio.timeout(PATIENCE):
                await reading
        finally:
            writer.close()
        return seen, bytes(answered)


PIECE = 1000
LINE = b"GET / HTTP/1.1\r\nhost: a\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [LINE, *[b"x: %s\r\n" % (b"a" * PIECE)] * 100],
        [LINE, b"x: ", *[b"a" * PIECE] * 100],
        [b"GET /", *[b"a" * PIECE] * 100],
        [CHUNKED, b"0\r\n", *[b"x: %s\r\n" % (b"a" * PIECE)] * 100],
    ],
    ids=["headers", "one header", "the address", "what follows a body"],
)
async def test_a_head_that_does_not_end_is_refused(pieces: Sequence[bytes]) -> None:
    seen, answered = await exchange(pieces)

    assert seen == []
    assert answered.startswith(b"HTTP/1.1 400 ")
    assert b"at most 65536 bytes" in answered


WHOLE: dict[str, bytes] = {
    "headers": LINE + b"x: %s\r\n" % (b"a" * PIECE) * 66 + b"\r\n",
    "one header": LINE + b"x: %s\r\n\r\n" % (b"a" * (MAX_HEAD_BYTES + 1)),
    "tiny headers": LINE + b"a:\r\n" * 14_000 + b"\r\n",
    "a name": LINE + b"a" * (MAX_HEAD_BYTES + 1) + b": x\r\n\r\n",
    "the address": b"GET /%s HTTP/1.1\r\nhost: a\r\n\r\n" % (b"a" * (MAX_HEAD_BYTES + 1)),
    "an offer": b"%sconnection: upgrade\r\nupgrade: h2c\r\nx: %s\r\n\r\n" % (LINE, b"a" * (MAX_HEAD_BYTES + 1)),
}


@pytest.mark.parametrize(
    "before", [b"", b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi"], ids=["", "second"]
)
@pytest.mark.parametrize("head", WHOLE.values(), ids=WHOLE)
async def test_a_long_head_that_arrives_in_one_piece_is_refused_too(head: bytes, before: bytes) -> None:
    heads: list[list[bytes]] = []
    _, answered = await exchange([before, head] if before else [head], heads=heads)

    assert len(heads) == bool(before)
    assert b"HTTP/1.1 400 " in answered and b"at most 65536 bytes" in answered


@pytest.mark.parametrize(
    ("pieces", "size"),
    [
        ([LINE, b"x: %s\r\n" % (b"a" * (MAX_HEAD_BYTES - PIECE)), b"\r\n"], 0),
        ([b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 200000\r\n\r\n" + b"a" * 200_000], 200_000),
        ([CHUNKED, *[b"%x\r\n%s\r\n" % (PIECE, b"a" * PIECE)] * 100, b"0\r\n\r\n"], 100 * PIECE + 2),
    ],
    ids=["a long head", "a body with its head", "a body in chunks"],
)
async def test_what_is_no_endless_head_is_served(pieces: Sequence[bytes], size: int) -> None:
    seen, _ = await exchange([*pieces, LAST])

    assert [len(body) for _, _, body in seen] == [size, 0]


OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n"
WITH_OFFER = [
    b'POST /a HTTP/1.1\r\nhost: a\r\n%scontent-length: 12\r\n\r\n{"input": 1}' % OFFER,
    b"POST /a HTTP/1.1\r\nhost: a\r\n%scontent-length: %d\r\n\r\n%s" % (OFFER, len(HIDDEN), HIDDEN),
    b"POST /a HTTP/1.1\r\nhost: a\r\n%stransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n3\r\nyou\r\n0\r\n\r\n" % OFFER,
    b"GET /a?b=c%%20d HTTP/1.1\r\nhost: a\r\n%s\r\n" % OFFER,
    b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
    b"POST /a HTTP/1.1\r\nhost: a\r\n%scontent-length: 100000\r\n\r\n%s" % (OFFER, b"a" * 100_000),
]


@pytest.mark.parametrize("request_", WITH_OFFER, ids=["json", "hidden", "chunks", "get", "websocket", "large"])
async def test_an_offer_to_speak_another_protocol_is_passed_over(request_: bytes) -> None:
    head = request_.index(b"\r\n\r\n") + 4
    cuts = {0, 1, head - 3, head - 1, head, head + 1, head + 7, len(request_)}
    for cut in sorted(cut for cut in cuts if cut <= len(request_)):
        pieces = [piece for piece in (request_[:cut], request_[cut:], request_ + LAST) if piece]
        seen, answered = await exchange(pieces)

        assert seen == (await exchange(pieces, "h11"))[0], cut
        assert [path for _, path, _ in seen] == ["/a", "/a", "/last"], cut
        assert answered.count(b"HTTP/1.1 200 ") == 3, cut


@pytest.mark.parametrize("kind", PROTOCOLS)
@pytest.mark.parametrize("trailer", [b"Host: evil", b"x-agent-user-id: bob", b"Authorization: Bearer b"], ids=str)
async def test_what_follows_a_body_is_no_header(trailer: bytes, kind: Kind) -> None:
    heads: list[list[bytes]] = []
    seen, _ = await exchange([CHUNKED + b"0\r\n" + trailer + b"\r\n\r\n", LAST], kind, heads)

    assert [body for _, _, body in seen] == [b"hi", b""]
    assert heads == [[b"host", b"transfer-encoding"], [b"host", b"connection"]]


async def test_a_tunnel_is_refused() -> None:
    seen, answered = await exchange([b"CONNECT b:443 HTTP/1.1\r\nhost: b:443\r\n\r\n", b"anything"])

    assert seen == []
    assert answered.startswith(b"HTTP/1.1 400 ")
