"""The load: an HTTP/1.1 client that does little more than wait for bytes, so that the processor is left to the server.

Each caller keeps one connection and sends one request after the other. An answer counts only if it ends as a completed
response.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

_HEAD: Final = (
    "POST /responses HTTP/1.1",
    "Host: localhost",
    "Content-Type: application/json",
    # The identity that the platform gives; it means nothing to a system that is not hosted.
    "x-agent-user-id: someone",
    "x-agent-foundry-call-id: someone.1",
)
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_LAST_CHUNK: Final = b"0\r\n\r\n"
_DELTA: Final = b"response.output_text.delta"
_ID: Final = re.compile(rb'"id": ?"((?:caresp|resp)_[^"]+)"')


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered request: when it was sent, and how many seconds later something came."""

    body: bytes
    first_delta: float
    seconds: float

    @property
    def response_id(self) -> str:
        found = _ID.search(self.body)
        assert found is not None, self.body[:500]
        return found[1].decode()

    @property
    def deltas(self) -> int:
        """How many delta events came."""
        return self.body.count(b"event: " + _DELTA)

    def check(self) -> None:
        """Whether it is a completed response.

        Raises:
            RuntimeError: It is not.
        """
        if b'"completed"' not in self.body:
            raise RuntimeError(f"not a completed response: {self.body[:300]!r} ... {self.body[-1500:]!r}")


@dataclass(frozen=True, slots=True)
class Request:
    """A request as bytes, made once and sent often."""

    data: bytes

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Request:
        encoded = json.dumps(body).encode()
        return cls("\r\n".join((*_HEAD, f"Content-Length: {len(encoded)}", "", "")).encode() + encoded)


class Caller:
    """One connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: Request) -> Answer:
        for attempt in (1, 2):
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
            try:
                return await self._exchange(request, *self._streams)
            except (ConnectionError, asyncio.IncompleteReadError):
                # A server closes a connection that has served many requests; a second refusal is none of that.
                await self.close()
                if attempt == 2:
                    raise
        raise AssertionError

    async def _exchange(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
        start = time.perf_counter()
        writer.write(request.data)
        head = await reader.readuntil(_HEAD_END)
        length = _LENGTH.search(head)
        first = 0.0
        if length is not None:
            body = await reader.readexactly(int(length[1]))
        else:
            received = bytearray()
            while not received.endswith(_LAST_CHUNK):
                piece = await reader.read(2**18)
                if not piece:
                    raise ConnectionError(f"the answer stops: {bytes(received[-300:])!r}")
                received += piece
                if not first and _DELTA in received:
                    first = time.perf_counter() - start
            body = bytes(received)
        answer = Answer(body, first, time.perf_counter() - start)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{head[:100]!r} {body[:500]!r}")
        answer.check()
        if b"connection: close" in head.lower():
            await self.close()
        return answer

    async def close(self) -> None:
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def load(port: int, requests: Sequence[Request], *, concurrency: int) -> tuple[list[Answer], float]:
    """Send requests, so many at a time; the answers and how many seconds they all took."""
    left = iter(requests)
    answers: list[Answer] = []

    async def call() -> None:
        caller = Caller(port)
        answers.extend([await caller.send(request) for request in left])
        await caller.close()

    start = time.perf_counter()
    async with asyncio.TaskGroup() as callers:
        for _ in range(concurrency):
            callers.create_task(call())
    return answers, time.perf_counter() - start
