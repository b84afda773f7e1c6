"""The server runs to its end, whatever is raised out of its event loop, and only there."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from starlette.applications import Starlette

from hostedagent.server.limits import ConnectionLimits
from hostedagent.server.uvicorn import serve_with_uvicorn
from tests.patience import PATIENCE


class Odd(BaseException):
    """Neither an exception nor an exit."""


def by_a_signal(error: BaseException, seen: asyncio.Event) -> None:
    """Raise in a handler while the loop waits, as `signal.alarm` with a `TimeoutError` does."""

    main = threading.main_thread().ident
    assert main is not None

    def handle(*_: object) -> None:
        if asyncio.current_task() is None:  # In a task it would only end that task.
            seen.set()
            raise error

    def send() -> None:
        while not seen.is_set():
            signal.pthread_kill(main, signal.SIGUSR1)
            seen_soon.wait(0.01)

    seen_soon = threading.Event()
    signal.signal(signal.SIGUSR1, handle)
    threading.Thread(target=send, daemon=True).start()


def by_a_callback(error: BaseException, seen: asyncio.Event) -> None:
    def call() -> None:
        seen.set()
        raise error

    asyncio.get_running_loop().call_soon(call)


def by_stopping(error: BaseException, seen: asyncio.Event) -> None:
    asyncio.get_running_loop().stop()
    asyncio.get_running_loop().call_soon(seen.set)


CASES: dict[str, tuple[Callable[[BaseException, asyncio.Event], None], BaseException]] = {
    "a signal handler that gives up": (by_a_signal, TimeoutError("secret-1")),
    "a signal handler that exits": (by_a_signal, SystemExit("secret-1")),
    "a signal handler that raises anything": (by_a_signal, Odd("secret-1")),
    "a callback that exits": (by_a_callback, SystemExit("secret-1")),
    "a callback that raises anything": (by_a_callback, Odd("secret-1")),
    "a stopped loop": (by_stopping, Odd()),
}


@pytest.mark.parametrize("case", CASES)
def test_code_on_the_loop_does_not_end_the_server(case: str) -> None:
    act, error = CASES[case]
    steps: list[str] = []

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncGenerator[None]:
        async def work() -> None:
            seen = asyncio.Event()
            act(error, seen)
            async with asyncio.timeout(PATIENCE):
                await seen.wait()
                await asyncio.sleep(0)
            steps.append("after")
            os.kill(os.getpid(), signal.SIGTERM)

        task = asyncio.create_task(work())
        yield
        steps.append("ended" if task.done() else "cut off")

    before = signal.getsignal(signal.SIGUSR1)
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            serve_with_uvicorn(
                cast("Any", Starlette(lifespan=lifespan)),
                listener,
                grace=0,
                limits=ConnectionLimits(),
                max_message=None,
                on_listening=None,
                on_signal=lambda: None,
            )
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert steps == ["after", "ended"]
