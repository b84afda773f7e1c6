"""`/invocations_ws`: sequential invocations over one connection. Each message is the body of an invocation.

The answers are the events of a stream as JSON: `delta`, `question`, and `done` or `error`. Closing the connection ends
the running invocation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
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
    from hostedagent.doors.invocations.door import Invocations

MAX_WAITING: Final = 16
"""Maximum of waiting messages, after which the connection is not read any further."""


async def serve_socket(door: Invocations, entry: Entry, socket: WebSocket) -> None:
    """Serve one connection, even if it is already accepted."""
    async with admitted(socket, entry.trust, entry.turns.check_accepts) as caller:
        if caller is None:
            return
        waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING)
        gone, session_id = asyncio.Event(), door.session_of(socket.scope)

        async def send(event: Mapping[str, Json]) -> None:
            if not gone.is_set():
                await socket.send_text(event_data(dict(event)).decode())

        async def work() -> None:
            while True:
                data = await waiting.get()
                try:
                    async with aclosing(_events(door, entry, caller, session_id, gone, data)) as events:
                        async for event in events:
                            await send(event)
                except Exception as error:  # noqa: BLE001 - the connection serves further invocations
                    await send(error_event(refusal_in(error, "An invocation of a WebSocket failed")))

        working = asyncio.create_task(work(), name="hostedagent-invocations")
        try:
            while (message := await socket.receive())["type"] != "websocket.disconnect":
                await waiting.put(data_of(message))
        finally:
            gone.set()
            working.cancel()
            await asyncio.wait({working})


async def _events(
    door: Invocations, entry: Entry, caller: Caller, session_id: str, gone: asyncio.Event, data: bytes
) -> AsyncGenerator[Mapping[str, Json]]:
    if len(data) > entry.options.max_body_bytes:
        raise too_large(entry.options)
    body = {**door.body(parse_object(data, entry.options), session_id), "stream": True}
    begun = entry.turns.begin(body, caller, left=gone.wait, session_id=session_id)
    async with begun as turn, aclosing(door.events(turn)) as events:
        async for event in events:
            yield event


def error_event(error: RequestError) -> dict[str, Json]:
    """The event that reports an error."""
    return {"type": "error", "message": error.message, "code": error.code, "status": error.status, "param": error.param}
