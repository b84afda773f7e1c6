"""The sockets behind `AgentHost.run`; whole processes are tested in tests/cli, tests/lifecycle and tests/crash."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from typing import Any, cast

import pytest
from starlette.types import Receive, Scope, Send

from hostedagent.server.limits import ConnectionLimits
from hostedagent.server.serve import listening
from hostedagent.server.uvicorn import serve_with_uvicorn


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


def test_an_application_that_does_not_start_is_not_reported_as_listening_and_leaves_the_handler_of_ctrl_c() -> None:
    before = signal.getsignal(signal.SIGINT)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    reported: list[str] = []
    with listening("127.0.0.1", 0) as listener, pytest.raises(RuntimeError, match="did not start"):
        serve_with_uvicorn(
            cast("Any", app),
            listener,
            grace=0,
            limits=ConnectionLimits(),
            max_message=None,
            on_listening=lambda: reported.append("listening"),
            on_signal=lambda: None,
        )
    assert reported == []
    assert signal.getsignal(signal.SIGINT) is before
