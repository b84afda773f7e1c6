"""A model provider on loopback that says what a test scripts, in the test's own event loop.

Each request takes the next reply of the script and is kept for the test to look at. A request that the real provider
would refuse is refused the same way, and the test fails for it at the latest when the block ends, as it does for a
script that was too short or too long. One connection serves one request; nothing is ever retried.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

from .providers import PROVIDERS, Provider
from .rules import BrokenRuleError, Ledger
from .transcript import transcript
from .values import (
    Closed,
    Dropped,
    Failed,
    Gate,
    HttpError,
    Json,
    NotExpressibleError,
    Part,
    Reply,
    StreamError,
    Turn,
    Wire,
    as_reply,
)


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came: path without query, headers by lower-case name, JSON body."""

    path: str
    headers: dict[str, str]
    body: Json
    method: str = "POST"


class Upstream:
    """The fake provider: `async with Upstream() as upstream`, then `upstream.script(...)`."""

    def __init__(self, *, check_rules: bool = True, raises_at_exit: bool = True) -> None:
        self.calls: list[Call] = []
        self.retrieved: list[str] = []
        self.disconnected = asyncio.Event()
        self._check_rules = check_rules
        self._raises_at_exit = raises_at_exit
        self._failures: list[str] = []
        self._ledger = Ledger()
        self._replies: deque[Reply] = deque()
        self._replies_for: dict[str, deque[Reply]] = {}
        self._number = 0
        self._background: dict[str, tuple[Turn, int, Json]] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The base address, without `/v1`."""
        if self._server is None:
            raise RuntimeError("the upstream is not running: use it as `async with Upstream() as upstream`")
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def requests(self) -> list[Json]:
        """The bodies of all requests, oldest first."""
        return [call.body for call in self.calls]

    @property
    def transcripts(self) -> list[list[str]]:
        """The conversation of every request in short lines, the same for each provider."""
        return [transcript(body) for body in self.requests]

    def script(self, *replies: Reply | Part) -> None:
        """Add replies to the end of the script; a part alone is a turn of its own."""
        self._replies.extend(as_reply(reply) for reply in replies)

    def when(self, word: str, *replies: Reply | Part) -> None:
        """Add replies for requests whose newest user message has the word, so that turns can run side by side."""
        self._replies_for.setdefault(word, deque()).extend(as_reply(reply) for reply in replies)

    @property
    def failures(self) -> list[str]:
        """Requests that were refused by the rules, and those that found no reply."""
        return [*self._failures]

    @property
    def problems(self) -> list[str]:
        """Requests that were refused by the rules or found no reply, and replies that no request asked for."""
        unused = [reply for replies in (self._replies, *self._replies_for.values()) for reply in replies]
        if not unused:
            return [*self._failures]
        return [*self._failures, f"{len(unused)} scripted replies were never asked for, next: {unused[0]!r}"]

    def assert_all_consumed(self) -> None:
        """Raise when there are problems."""
        if self.problems:
            raise AssertionError("\n".join(self.problems))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        # An error of the test itself says more than the script it left unfinished.
        if error is None and self._raises_at_exit:
            self.assert_all_consumed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._finish)

    def _finish(self, connection: asyncio.Task[None]) -> None:
        self._connections.discard(connection)
        if not connection.cancelled() and (error := connection.exception()) is not None:
            self._failures.append(f"the fake upstream could not answer: {error!r}")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            call = await _read_call(reader)
            await self._answer(call, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.disconnected.set()
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if call.method == "GET":
            await self._retrieve(call, reader, writer)
            return
        self.calls.append(call)
        provider = PROVIDERS.get(call.path)
        if provider is None:
            self._failures.append(f"request {len(self.calls)} went to {call.path!r}, where no provider listens")
            await _send_json(writer, 404, {"error": {"message": f"Invalid URL (POST {call.path})"}})
            return
        reply = self._next_reply(provider, call.body)
        try:
            await self._send(provider, reply, call.body, reader, writer)
        except NotExpressibleError as error:
            self._failures.append(str(error))
            await _send_json(writer, 500, provider.error(HttpError(500, str(error))))

    async def _retrieve(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Tell what was asked for in the background again, from its first event."""
        path, _, response_id = call.path.rpartition("/")
        provider, kept = PROVIDERS[path], self._background.get(response_id)
        self.retrieved.append(response_id)
        if kept is None:
            await _send_json(writer, 404, provider.error(HttpError(404, f"Response {response_id!r} not found.")))
            return
        turn, number, body = kept
        await self._watched(provider, turn, number, body, reader, writer)

    def _next_reply(self, provider: Provider, body: Json) -> Reply:
        try:
            if self._check_rules:
                provider.check(body, self._ledger)
        except BrokenRuleError as error:
            self._failures.append(f"request {len(self.calls)} breaks a rule of the provider: {error}")
            return HttpError(400, error.says)
        replies = self._queue_for(body)
        if not replies:
            self._failures.append(f"request {len(self.calls)} found the script at its end")
            return HttpError(500, "The script of the fake upstream is at its end.")
        return replies.popleft()

    def _queue_for(self, body: Json) -> deque[Reply]:
        stored = self._ledger.transcripts.get(body.get("previous_response_id") or "", [])
        lines = [*transcript({"input": stored}), *transcript(body)]
        asked = next((line for line in reversed(lines) if line.startswith("user: ")), "")
        return next((replies for word, replies in self._replies_for.items() if word in asked), self._replies)

    async def _send(
        self, provider: Provider, reply: Reply, body: Json, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if isinstance(reply, HttpError):
            await _send_json(writer, reply.status, provider.error(reply), dict(reply.headers))
            return
        self._number += 1
        provider.remember(self._ledger, reply, self._number, body)
        if body.get("background"):
            self._background[f"resp_{self._number}"] = (reply, self._number, body)
        if body.get("stream"):
            await self._watched(provider, reply, self._number, body, reader, writer)
        elif isinstance(reply.end, StreamError) or (isinstance(reply.end, Failed) and not provider.keeps_responses):
            await _send_json(writer, 500, provider.error(HttpError(500, reply.end.message, reply.end.code)))
        elif not isinstance(reply.end, Dropped | Closed):
            await _send_json(writer, 200, provider.whole(reply, self._number, body))

    async def _watched(
        self,
        provider: Provider,
        turn: Turn,
        number: int,
        body: Json,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        gone = asyncio.create_task(reader.read(1))
        try:
            await self._stream(provider, turn, provider.stream(turn, number, body), writer, gone)
        finally:
            gone.cancel()

    async def _stream(
        self,
        provider: Provider,
        turn: Turn,
        events: list[Wire],
        writer: asyncio.StreamWriter,
        gone: asyncio.Task[bytes],
    ) -> None:
        headers = {"content-type": "text/event-stream; charset=utf-8", "transfer-encoding": "chunked"}
        writer.write(_head(200, headers))
        for event in () if turn.end == Closed(at_once=True) else events:
            if not isinstance(event, Gate):
                await _send_chunk(writer, provider.frame(event))
            elif not await _passes(event, gone):
                raise ConnectionResetError("the client went away at a gate")
        if farewell := provider.farewell_to(turn):
            await _send_chunk(writer, farewell)
        if not isinstance(turn.end, Dropped):
            await _send_chunk(writer, b"")


async def _passes(gate: Gate, gone: asyncio.Task[bytes]) -> bool:
    """Wait for the gate; False when the client leaves first."""
    waiting = asyncio.create_task(gate.pass_through())
    try:
        done, _ = await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    return waiting in done and waiting.exception() is None


async def _read_call(reader: asyncio.StreamReader) -> Call:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    content = await reader.readexactly(int(headers.get("content-length", "0")))
    method, target, _ = first.split(" ")
    return Call(target.partition("?")[0], headers, cast(Json, json.loads(content or b"{}")), method)


def _head(status: int, headers: dict[str, str]) -> bytes:
    # Both SDKs obey x-should-retry, so that a scripted error is asked for exactly once.
    fields = {"connection": "close", "x-request-id": "req_1", "x-should-retry": "false", **headers}
    return "\r\n".join(
        [f"HTTP/1.1 {status} -", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    ).encode()


async def _send_json(
    writer: asyncio.StreamWriter, status: int, body: Json, headers: dict[str, str] | None = None
) -> None:
    content = json.dumps(body).encode()
    fields = {"content-type": "application/json", "content-length": str(len(content)), **(headers or {})}
    writer.write(_head(status, fields) + content)
    await writer.drain()


async def _send_chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    await writer.drain()
