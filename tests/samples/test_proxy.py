"""The configuration of nginx in samples/self_hosted: what it passes on, and to which replica."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.chaos.fleet import free_port, proxied
from tests.patience import PATIENCE

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is missing")

ADDRESSES = ["127.0.0.2", "127.0.0.3"]


def _folder() -> Path:
    """A folder that the user of nginx may enter."""
    folder = Path(tempfile.mkdtemp(prefix="nginx-"))
    folder.chmod(0o755)
    return folder


@asynccontextmanager
async def proxy_of_one(heard: list[bytes]) -> AsyncGenerator[tuple[str, int]]:
    """nginx in front of two addresses, of which only the first accepts connections; it answers nothing but 200."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    folder = _folder()
    port = free_port(ADDRESSES)
    try:
        async with await asyncio.start_server(answer, ADDRESSES[0], port), proxied(port, ADDRESSES, folder) as url:
            host, _, own = url.removeprefix("http://").partition(":")
            yield host, int(own)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def status_of(place: tuple[str, int], request: bytes) -> bytes:
    """The status of the answer, once nginx listens."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(ConnectionRefusedError):
                reader, writer = await asyncio.open_connection(*place)
                writer.write(request)
                line = await reader.readline()
                writer.close()
                return line.split()[1]
            await asyncio.sleep(0)


async def test_a_replica_that_accepts_no_connection_is_passed_over() -> None:
    heard: list[bytes] = []
    async with proxy_of_one(heard) as place:
        request = b"POST /responses HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        statuses = [await status_of(place, request) for _ in range(6)]
    assert statuses == [b"200"] * 6 and len(heard) == 6


async def test_a_websocket_is_passed_on_as_one() -> None:
    heard: list[bytes] = []
    async with proxy_of_one(heard) as place:
        await status_of(
            place, b"GET /responses HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        await status_of(place, b"GET /readiness HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    socket, other = (head.lower() for head in heard)
    assert b"upgrade: websocket\r\n" in socket and b"connection: upgrade\r\n" in socket
    assert b"upgrade" not in other and b"connection" not in other
