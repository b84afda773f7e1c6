"""A name server that knows one thing: the addresses of the replicas, as Docker's does in the sample."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final, cast

_HEADER: Final = struct.Struct("!HHHHHH")
_ANSWER: Final = struct.Struct("!HHHIH4s")
_IS_ANSWER: Final = 0x8180
_A: Final = 1


class _Names(asyncio.DatagramProtocol):
    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = [socket.inet_aton(address) for address in addresses]
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # Which is no subclass of it.

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:
        number = _HEADER.unpack_from(data)[0]
        end = data.index(b"\0", _HEADER.size) + 5  # Behind the name, its type and its class.
        question = data[_HEADER.size : end]
        (kind,) = struct.unpack_from("!H", question, len(question) - 4)
        found = self._addresses if kind == _A else []
        answers = [_ANSWER.pack(0xC000 | _HEADER.size, _A, 1, 1, 4, address) for address in found]
        head = _HEADER.pack(number, _IS_ANSWER, 1, len(answers), 0, 0)
        assert self._transport is not None
        self._transport.sendto(head + question + b"".join(answers), addr)


@asynccontextmanager
async def named(addresses: Sequence[str]) -> AsyncGenerator[int]:
    """Answer every question for a name with these addresses; gives the port, on 127.0.0.1."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Names(addresses), ("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()
