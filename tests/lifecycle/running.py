"""A process that serves the subject, as a test sees it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.lifecycle.subject import PATIENCE, Gates

PROJECT = Path(__file__).parents[2]

ATTEMPTS = 3
"""The process finds a free port and binds it a moment later: another one may have been faster."""


@dataclass(slots=True)
class Running:
    """A process that was started, and everything that it told."""

    process: asyncio.subprocess.Process
    gates: Gates = field(default_factory=Gates)
    told: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    _places: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])

    @property
    def url(self) -> str:
        return next(line["url"] for line in self.told if "url" in line)

    async def hear(self) -> None:
        assert self.process.stdout is not None
        async for raw in self.process.stdout:
            line = json.loads(raw)
            self.told.append(line)
            if "asked" in line:
                self.gates.asked(line["asked"], line["id"])
            elif "held" in line:
                self.gates.held(line["held"])
            elif "at" in line:
                self._places.setdefault(line["at"], asyncio.Event()).set()

    async def at(self, place: str) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._places.setdefault(place, asyncio.Event()).wait()

    def open(self, word: str) -> None:
        """Let an answer go on."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n".encode())

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()


@asynccontextmanager
async def running(
    root: Path, *, grace: float, is_resilient: bool = False
) -> AsyncGenerator[tuple[Running, httpx.AsyncClient]]:
    """Start a process and give it and a client for it."""
    started, hearing = await _listening(root, grace, "resilient" if is_resilient else "plain")
    try:
        async with httpx.AsyncClient(base_url=started.url, timeout=PATIENCE) as http:
            yield started, http
    finally:
        if started.process.returncode is None:
            started.process.kill()
        await started.process.wait()
        await hearing


async def _listening(root: Path, grace: float, kind: str) -> tuple[Running, asyncio.Task[None]]:
    for _ in range(ATTEMPTS):
        command = [sys.executable, "-m", "tests.lifecycle.process", str(root), str(grace), kind]
        pipe = asyncio.subprocess.PIPE
        environment = {**os.environ, "AGENTSERVER_STATE_ROOT": str(root / "sdk")}
        process = await asyncio.create_subprocess_exec(*command, cwd=PROJECT, stdin=pipe, stdout=pipe, env=environment)
        started = Running(process)
        hearing = asyncio.create_task(started.hear())
        listening = asyncio.create_task(started.at("listening"))
        await asyncio.wait((hearing, listening), return_when=asyncio.FIRST_COMPLETED)
        if listening.done():
            listening.result()
            return started, hearing
        listening.cancel()
        await process.wait()
    raise AssertionError("the process did not start")


async def said_by(http: httpx.AsyncClient, body: dict[str, Any], *, begun: asyncio.Event | None = None) -> bytes:
    """Everything that a client is sent, until its connection ends in whatever way. The first text sets `begun`."""
    received = b""
    try:
        async with http.stream("POST", "/responses", json=body) as reply:
            async for chunk in reply.aiter_raw():
                received += chunk
                if begun is not None and b"response.output_text.delta" in received:
                    begun.set()
    except httpx.TransportError:
        pass
    return received
