"""`hostedagent run --workers N`: several processes behind one listening socket, each a replica on the same PostgreSQL.

The first process binds the socket, starts the others, and starts one again that has died. Each worker has one end of a
socket pair: it reports there that it serves, and ends when the other end is closed, so that none outlives the first.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import click

from hostedagent.cli.startup import StartError

VARIABLE: Final = "HOSTEDAGENT_WORKER"
"""Set for a worker: the numbers of its two sockets."""

STOP_SECONDS: Final = 60.0
"""Seconds that workers may take to end; the server in each ends sooner."""

_PAUSE: Final = 0.5
_MAX_PAUSE: Final = 8.0
_READY: Final = b"r"


@dataclass(frozen=True, slots=True)
class Worker:
    """This process, as a worker."""

    listener: socket.socket
    control: socket.socket

    @classmethod
    def here(cls) -> Worker | None:
        """This process as a worker, if it is one."""
        if (numbers := os.environ.pop(VARIABLE, None)) is None:
            return None
        listener, control = (socket.socket(fileno=int(number)) for number in numbers.split(","))
        for inherited in (listener, control):
            inherited.set_inheritable(False)
        return cls(listener, control)

    def ready(self) -> None:
        """Report that this worker serves, and end with the first process from now on."""
        with suppress(OSError):
            self.control.sendall(_READY)
        threading.Thread(target=self._watch, name="hostedagent-worker", daemon=True).start()

    def _watch(self) -> None:
        with suppress(OSError):
            self.control.recv(1)
        os.kill(os.getpid(), signal.SIGTERM)


def serve_with_workers(
    listener: socket.socket, arguments: Sequence[str], count: int, on_ready: Callable[[], None]
) -> int:
    """Serve with so many processes until SIGTERM or SIGINT; returns the exit code."""
    return asyncio.run(_Workers(listener, arguments, count, on_ready).run())


class _Workers:
    def __init__(
        self, listener: socket.socket, arguments: Sequence[str], count: int, on_ready: Callable[[], None]
    ) -> None:
        self._listener = listener
        self._arguments = arguments
        self._count = count
        self._on_ready = on_ready
        self._ready: set[int] = set()
        self._is_reported = False
        self._stopping = asyncio.Event()
        self._processes: set[asyncio.subprocess.Process] = set()
        self._code = 0

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._keep(number))
        return self._code

    def _interrupt(self) -> None:
        """End the workers, which after another Ctrl+C wait for nothing."""
        if self._stopping.is_set():
            for process in self._processes:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)
        self._stopping.set()

    async def _keep(self, number: int) -> None:
        """Start a worker, and start it again when it dies."""
        pause = _PAUSE
        while not self._stopping.is_set():
            code, was_ready = await self._one(number)
            if self._stopping.is_set():
                return
            if not was_ready and not self._is_reported:
                if code <= 0:  # With any other code it has said why.
                    click.echo(f"A worker has ended with {_shown(code)} while it started.", err=True)
                self._code = max(code, 1)
                self._stopping.set()
                return
            click.echo(f"A worker has ended with {_shown(code)}. Starting another.", err=True)
            pause = _PAUSE if was_ready else min(pause * 2, _MAX_PAUSE)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    async def _one(self, number: int) -> tuple[int, bool]:
        """Run one worker; how it ended, and whether it served."""
        control, other = socket.socketpair()
        with control:
            control.setblocking(False)
            handed = (self._listener.fileno(), other.fileno())
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "hostedagent",
                *self._arguments,
                pass_fds=handed,
                env={**os.environ, VARIABLE: ",".join(map(str, handed))},
                process_group=0,  # Ctrl+C comes from here, once.
            )
            other.close()
            self._processes.add(process)
            reading = asyncio.create_task(self._see(control, number))
            ended = asyncio.create_task(process.wait())
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await self._stop(process, ended)
            for task in (reading, stopping):
                task.cancel()
            await asyncio.wait((reading,))
            self._processes.discard(process)
        was_ready = number in self._ready
        self._ready.discard(number)
        return await ended, was_ready

    async def _see(self, control: socket.socket, number: int) -> None:
        if await asyncio.get_running_loop().sock_recv(control, 1) != _READY:
            return
        self._ready.add(number)
        if len(self._ready) == self._count and not self._is_reported:
            self._is_reported = True
            self._on_ready()

    async def _stop(self, process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> None:
        with suppress(ProcessLookupError):
            process.terminate()
        done, _ = await asyncio.wait({ended}, timeout=STOP_SECONDS)
        if not done:
            with suppress(ProcessLookupError):
                process.kill()


def _shown(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"code {code}"


def check_workers(count: int, store: str | None, *, reload: bool) -> None:
    """Refuse what several processes cannot share."""
    fail = partial(StartError, "environment", code=2)
    if count < 1:
        raise fail(f"--workers is 1 or more, not {count}.")
    if os.name != "posix":
        raise fail("--workers needs Linux or macOS.")
    if reload:
        raise fail("--workers and --reload cannot be combined.")
    if store is not None and store != "postgres":
        raise fail(f"--workers needs --store postgres: one process owns a store of the kind {store}.")
