"""`/invocations_ws`: sequential invocations over one connection. Each message is the body of an invocation.

The answers are the events of a stream as JSON: `delta`, `question`, and `done` or `error`. Closing the connection ends
the running invocation.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketState

from hostedagent.errors import RequestError
from hostedagent.failures import failed
from hostedagent.identity import Caller, RequestContext, enter_context, leave_context
from hostedagent.observability.logging import log_failure
from hostedagent.protocol.request.body import parse_object
from hostedagent.protocol.sse import event_data
from hostedagent.protocol.types import Json
from hostedagent.server.admission import headers_of, too_large
from hostedagent.server.exchange import refusal_of
from hostedagent.server.websocket import check_origin
from hostedagent.stores.base import StoreError

if TYPE_CHECKING:
    from hostedagent.doors.door import Entry
    from hostedagent.doors.invocations import Invocations

logger = logging.getLogger(__name__)

MAX_WAITING: Final = 16
"""Maximum of waiting messages, after which the connection is not read any further."""

_POLICY_VIOLATION: Final = 1008


class InvocationSockets:
    """Serves the connections of a door.

    Args:
        door: The door.
        entry: The parts of its host.
    """

    def __init__(self, door: Invocations, entry: Entry) -> None:
        self._door = door
        self._entry = entry

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection, even if it is already accepted."""
        scope = self._entry.trust.trusted(socket.scope)
        headers = headers_of(scope)
        is_accepted = socket.application_state is WebSocketState.CONNECTED
        try:
            check_origin(scope, headers)
            caller = self._entry.trust.caller_of(scope, headers)
            self._entry.turns.check_accepts()
        except RequestError as error:
            if is_accepted:
                await socket.close(_POLICY_VIOLATION, error.message)
            else:
                await socket.send_denial_response(JSONResponse(error.body(), error.status))
            return
        if not is_accepted:
            await socket.accept()
        entered = enter_context(RequestContext(caller))
        try:
            await _Connection(self._door, self._entry, socket, caller).serve()
        finally:
            leave_context(entered)


class _Connection:
    def __init__(self, door: Invocations, entry: Entry, socket: WebSocket, caller: Caller) -> None:
        self._door = door
        self._entry = entry
        self._socket = socket
        self._caller = caller
        self._session_id = door.session_of(socket.scope)
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING)
        self._gone = asyncio.Event()

    async def serve(self) -> None:
        """Read messages while invocations run."""
        working = asyncio.create_task(self._work(), name="hostedagent-invocations")
        try:
            while (message := await self._socket.receive())["type"] != "websocket.disconnect":
                text = message.get("text")
                await self._waiting.put(text.encode() if text is not None else message.get("bytes") or b"")
        finally:
            self._gone.set()
            working.cancel()
            await asyncio.wait({working})

    async def _work(self) -> None:
        while True:
            data = await self._waiting.get()
            try:
                await self._invoke(data)
            except RequestError as error:
                await self._refuse(error)
            except StoreError as error:
                await self._refuse(refusal_of(error, ""))
            except Exception as error:  # noqa: BLE001 - the connection serves further invocations
                log_failure(logger, "An invocation of a WebSocket failed", error)
                await self._send({"type": "error", "message": failed("server_error").message, "status": 500})

    async def _invoke(self, data: bytes) -> None:
        options = self._entry.options
        if len(data) > options.max_body_bytes:
            raise too_large(options)
        body = {**self._door.body(parse_object(data, options), self._session_id), "stream": True}
        begun = self._entry.turns.begin(body, self._caller, left=self._gone.wait, session_id=self._session_id)
        async with begun as turn, aclosing(self._door.events(turn)) as events:
            async for event in events:
                await self._send(event)

    async def _refuse(self, error: RequestError) -> None:
        shown = {"message": error.message, "code": error.code, "status": error.status, "param": error.param}
        await self._send({"type": "error", **shown})

    async def _send(self, event: Mapping[str, Json]) -> None:
        if not self._gone.is_set():
            await self._socket.send_text(event_data(dict(event)).decode())
