"""A relay in front of the database that can be cut, as a network can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from hostedagent.stores.base import StoreUnavailable
from tests.patience import PATIENCE
from tests.postgres.server import postgres_dsn

T = TypeVar("T")


class Relay:
    """Relays connections while it is not cut.

    Args:
        dsn: The database; by default that of the tests.
    """

    def __init__(self, dsn: str | None = None) -> None:
        self._dsn = dsn or postgres_dsn()
        self.port = 0
        self.is_cut = False
        self.is_silent = False
        """Whether the database answers no statement on connections that are opened now."""
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def dsn(self) -> str:
        """The database through the relay."""
        return self.address(connect_timeout=int(PATIENCE))

    def address(self, **more: int) -> str:
        """The same, with other parameters."""
        return make_conninfo(self._dsn, host="127.0.0.1", port=self.port, sslmode="disable", **more)

    def cut(self) -> None:
        """End all connections and refuse others."""
        self.is_cut = True
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """Relay again."""
        self.is_cut = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if self.is_cut:
            writer.transport.abort()
            return
        try:
            there = await _connect(self._dsn)
        except OSError:  # The database is away.
            writer.transport.abort()
            return
        self._writers |= {writer, there[1]}
        with suppress(OSError):
            await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer, ends_at=self._last))
        self._writers -= {writer, there[1]}

    @property
    def _last(self) -> bytes | None:
        return _READY if self.is_silent else None


_READY = b"Z\x00\x00\x00\x05I"
"""The end of a login."""


async def _connect(dsn: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts: dict[str, Any] = dict(conninfo_to_dict(dsn))
    host, port = str(parts.get("host", "127.0.0.1")), int(parts.get("port", 5432))
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(host, port)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, ends_at: bytes | None = None) -> None:
    is_silent = False
    try:
        while data := await reader.read(65_536):
            if is_silent:
                continue
            writer.write(data)
            await writer.drain()
            is_silent = ends_at is not None and ends_at in data
    finally:
        writer.close()


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Call again while the database is unavailable: it may be late also where nothing is broken."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await call()
            except StoreUnavailable:
                await asyncio.sleep(0)


@asynccontextmanager
async def relay() -> AsyncGenerator[Relay]:
    """A relay on a free port."""
    relay = Relay()
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        relay.cut()
        server.close()
