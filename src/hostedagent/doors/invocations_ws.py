"""`/invocations_ws`: sequential invocations over one connection. Each message is the body of an invocation.

The answers are the events of a stream as JSON: `delta`, `question`, and `done` or `error`. Closing the connection ends
the running invocation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from starlette.websockets import WebSocket

from hostedagent.errors import RequestError
from hostedagent.identity import Caller
from hostedagent.protocol.request.body import parse_object
from hostedagent.protocol.sse import event_data
from hostedagent.protocol.types import Json
from hostedagent.server.admission import too_large
from hostedagent.server.exchange import refusal_in
from hostedagent.server.handshake import admitted, data_of

if TYPE_CHECKING:
    from hostedagent.doors.door import Entry
    from hostedagent.doors.invocations import Invocations

MAX_WAITING: Final = 16
"""Maximum of waiting messages, after which the connection is not read any further."""


async def serve_socket(door: Invocations, entry: Entry, socket: WebSocket) -> None:
    """Serve one connection, even if it is already accepted."""
    async with admitted(socket, entry.trust, entry.turns.check_accepts) as caller:
        if caller is None:
            return
        connection = _Connection(door, entry, socket, caller)
        working = asyncio.create_task(connection.work(), name="hostedagent-invocations")
        try:
            while (message := await socket.receive())["type"] != "websocket.disconnect":
                await connection.waiting.put(data_of(message))
        finally:
            connection.gone.set()
            working.cancel()
            await asyncio.wait({working})


def error_event(error: RequestError) -> dict[str, Json]:
    """The event that reports an error."""
    return {"type": "error", "message": error.message, "code": error.code, "status": error.status, "param": error.param}


class _Connection:
    def __init__(self, door: Invocations, entry: Entry, socket: WebSocket, caller: Caller) -> None:
        self._door = door
        self._entry = entry
        self._socket = socket
        self._caller = caller
        self._session_id = door.session_of(socket.scope)
        self.waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING)
        self.gone = asyncio.Event()

    async def work(self) -> None:
        """Run the invocations, one after the other."""
        while True:
            data = await self.waiting.get()
            try:
                await self._invoke(data)
            except Exception as error:  # noqa: BLE001 - the connection serves further invocations
                await self._send(error_event(refusal_in(error, "An invocation of a WebSocket failed")))

    async def _invoke(self, data: bytes) -> None:
        options = self._entry.options
        if len(data) > options.max_body_bytes:
            raise too_large(options)
        body = {**self._door.body(parse_object(data, options), self._session_id), "stream": True}
        begun = self._entry.turns.begin(body, self._caller, left=self.gone.wait, session_id=self._session_id)
        async with begun as turn, aclosing(self._door.events(turn)) as events:
            async for event in events:
                await self._send(event)

    async def _send(self, event: Mapping[str, Json]) -> None:
        if not self.gone.is_set():
            await self._socket.send_text(event_data(dict(event)).decode())
