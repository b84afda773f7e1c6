"""Answers the messages of a WebSocket connection one after the other, for doors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Final, TypeAlias

from msgspec import Struct, field
from starlette.websockets import WebSocket

from hostedagent.errors import RequestError, TooManyTurns
from hostedagent.protocol.sse import event_data
from hostedagent.protocol.types import Json
from hostedagent.server.exchange import refusal_in
from hostedagent.server.handshake import data_of

MAX_WAITING: Final = 16
"""Messages that wait for the answers to those before them."""

AnswerMessage: TypeAlias = Callable[[bytes], AsyncGenerator[Mapping[str, Json]]]
"""The events that answer a message. What it raises is reported to the client, and the next message is answered."""


class Messages(Struct):
    """The messages of one connection.

    Args:
        is_ending: Whether the process is shutting down. The answer that is being given then gets the grace period;
            otherwise it ends with its connection.
    """

    socket: WebSocket
    answer: AnswerMessage
    refused: Callable[[RequestError], Mapping[str, Json]]
    is_ending: Callable[[], bool]
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])
    _order: asyncio.Lock = field(default_factory=asyncio.Lock)
    _sending: asyncio.Lock = field(default_factory=asyncio.Lock)
    _is_gone: bool = False

    async def serve(self) -> None:
        """Serve the connection to its end."""
        try:
            while (message := await self.socket.receive())["type"] != "websocket.disconnect":
                await self._take(data_of(message))
        finally:
            self._is_gone = True
            if not self.is_ending():
                for task in self._tasks:
                    task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    async def _take(self, data: bytes) -> None:
        if len(self._tasks) > MAX_WAITING:
            await self._send(self.refused(TooManyTurns("Too many messages wait for their turns.", 1)))
            return
        task = asyncio.create_task(self._answered(data), name="hostedagent-message")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answered(self, data: bytes) -> None:
        async with self._order:
            if self._is_gone:
                return
            try:
                async with aclosing(self.answer(data)) as events:
                    async for event in events:
                        await self._send(event)
            except Exception as error:  # noqa: BLE001 - the connection serves further messages
                await self._send(self.refused(refusal_in(error, "A message of a WebSocket failed")))

    async def _send(self, event: Mapping[str, Json]) -> None:
        async with self._sending:
            if self._is_gone:
                return
            try:
                await self.socket.send_text(event_data(dict(event)).decode())
            except (RuntimeError, OSError):  # Closed, which the reader notices too.
                self._is_gone = True
