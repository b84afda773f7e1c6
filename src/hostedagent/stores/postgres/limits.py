"""The time limit of statements, which holds although nothing comes from the server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

from psycopg import AsyncConnection, Error


@contextmanager
def ended_after(connection: AsyncConnection[Any], seconds: float) -> Generator[None]:
    """End a connection after so many seconds, so that the statement which runs on it fails with `OperationalError`.

    Cancelling the statement would take psycopg up to ten seconds more: it asks the server to cancel it, then waits.
    """
    timer = asyncio.get_running_loop().call_later(seconds, _end, connection)
    try:
        yield
    finally:
        timer.cancel()


def _end(connection: AsyncConnection[Any]) -> None:
    with suppress(Error, OSError):  # It has ended by itself.
        ending = socket.socket(fileno=connection.fileno())
        try:
            ending.shutdown(socket.SHUT_RDWR)
        finally:
            ending.detach()  # The connection closes it.
