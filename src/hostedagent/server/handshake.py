"""Accepts WebSocket connections of every protocol and reads their messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from starlette.responses import JSONResponse
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketState

from hostedagent.errors import Forbidden, RequestError
from hostedagent.identity import Caller, RequestContext, enter_context, leave_context
from hostedagent.server.admission import Trust, headers_of

_POLICY_VIOLATION: Final = 1008


@asynccontextmanager
async def admitted(socket: WebSocket, trust: Trust, check_accepts: Callable[[], None]) -> AsyncGenerator[Caller | None]:
    """Accept a connection, unless that was done already, or refuse it.

    Yields:
        The caller; `None` if it is refused.
    """
    scope, is_accepted = trust.trusted(socket.scope), socket.application_state is WebSocketState.CONNECTED
    headers = headers_of(scope)
    try:
        _check_origin(headers)
        caller = trust.caller_of(scope, headers)
        check_accepts()
    except RequestError as error:
        if is_accepted:
            await socket.close(_POLICY_VIOLATION, error.message)
        else:
            await socket.send_denial_response(JSONResponse(error.body(), error.status))
        yield None
        return
    if not is_accepted:
        await socket.accept()
    entered = enter_context(RequestContext(caller))
    try:
        yield caller
    finally:
        leave_context(entered)


def data_of(message: Message) -> bytes:
    """The bytes of a message."""
    text = message.get("text")
    return text.encode() if text is not None else message.get("bytes") or b""


def _check_origin(headers: Mapping[str, str]) -> None:
    """Check the origin, because browsers let any page open a WebSocket to any address without a preflight request."""
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower():
        raise Forbidden(f"Pages of {origin!r:.200} may not open a WebSocket here.")
