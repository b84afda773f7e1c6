"""One request on the package's own routes and its response: headers, JSON, streams and errors."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import os
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final, TypeAlias

from opentelemetry import context, trace
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from hostedagent.errors import Conflict, InvalidRequest, NotFound, RequestError, Unavailable
from hostedagent.failures import TurnFailed, failed
from hostedagent.identity import Caller, RequestContext, enter_context, leave_context
from hostedagent.observability.logging import log_failure
from hostedagent.protocol.json import encode
from hostedagent.protocol.types import Json
from hostedagent.server.admission import Trust, container_session, headers_of, refusal
from hostedagent.stores.base import StoreConflict, StoreError, StoreNotFound, StoreRejected

logger = logging.getLogger(__name__)

Handler: TypeAlias = Callable[["Exchange"], Awaitable[None]]

WATCHED_AFTER_SECONDS: Final = 0.02
"""After how long an answer is watched for a client that leaves."""

_NOBODY: Final = Caller()
AWAY: Final = "The host's storage is not available. Try again later."
_REFUSED: Final = "Inbound %s %s completed with status %d (%s), x-request-id: %s"
"""Begins as the line of the SDK's host does."""

_ID_LENGTHS: Final = (48, 50)
_JSON: Final = (b"content-type", b"application/json")
_STREAM: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"connection", b"keep-alive"),
    (b"x-accel-buffering", b"no"),
)


class Endpoint:
    """One route: resolves the caller and reports errors."""

    def __init__(self, trust: Trust, handler: Handler) -> None:
        self._trust = trust
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        scope = self._trust.trusted(scope)
        exchange = Exchange(scope, receive, send)
        try:
            exchange.caller = self._trust.caller_of(scope, exchange.headers)
            entered = enter_context(RequestContext(exchange.caller))
            try:
                if "response_id" in scope.get("path_params", ()):
                    check_response_id(exchange.response_id)
                with caller_trace(exchange.headers):
                    await self._handler(exchange)
            finally:
                leave_context(entered)
        except RequestError as error:
            await exchange.refuse(error)
        except StoreError as error:
            await exchange.refuse(refusal_of(error, exchange.response_id))


def refusal_of(error: StoreError, response_id: str) -> RequestError:
    """The error for a request that failed in a store.

    Args:
        response_id: The response that the request names.
    """
    match error:
        case StoreNotFound():
            return NotFound(f"Response with id '{response_id}' not found.")
        case StoreConflict():
            return conflict(response_id)
        case StoreRejected():
            return InvalidRequest("The request names something that cannot be stored or read.")
        case _:
            log_failure(logger, "A store is not available", error)
            return Unavailable(AWAY)


def refusal_in(error: Exception, what: str, *, response_id: str = "") -> RequestError:
    """The error to report for what was raised; an unexpected one is logged.

    Args:
        response_id: The response that the turn continues.
    """
    if isinstance(error, RequestError):
        return error
    if isinstance(error, StoreError):
        return refusal_of(error, response_id)
    log_failure(logger, what, error)
    return TurnFailed(failed("server_error"))


def check_response_id(response_id: str) -> None:
    """Refuse a malformed id; raises `InvalidRequest`."""
    if not response_id.startswith("caresp_") or len(response_id) - len("caresp_") not in _ID_LENGTHS:
        raise InvalidRequest("The response id is malformed.", param="response_id")


class Exchange:
    """One request and its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.headers = headers_of(scope)
        self.receive = receive
        self.caller = _NOBODY
        self.session_id = container_session()
        self.is_started = False
        self.has_left = False
        self._added: list[tuple[bytes, bytes]] = []
        self._send = send
        self._request_id = self.headers.get("x-request-id") or os.urandom(16).hex()

    @property
    def request(self) -> Request:
        """The request, for what only Starlette parses: the query and the values in the path."""
        return Request(self.scope, self.receive)

    @property
    def response_id(self) -> str:
        """The response id in the path; empty if there is none."""
        return self.scope.get("path_params", {}).get("response_id", "")

    def add_header(self, name: str, text: str) -> None:
        """Add a header to the response."""
        self._added.append((name.encode("latin-1"), text.encode("latin-1", "replace")))

    def watched(self, leave: Callable[[], None]) -> ClientWatch:
        """A block in which `leave` is called when the client disconnects."""

        def left() -> None:
            self.has_left = True
            leave()

        return ClientWatch(self.receive, left)

    async def json(self, value: Mapping[str, Json]) -> None:
        """Answer with JSON."""
        await self._whole(encode(value), _JSON)

    async def text(self, text: str, media_type: str) -> None:
        """Answer with text.

        Args:
            media_type: Its type, with the charset.
        """
        await self._whole(text.encode(), (b"content-type", media_type.encode()))

    async def refuse(self, error: RequestError) -> None:
        """Answer with an error, unless the response has started, and log it without its text."""
        if not self.is_started:
            called = self.scope["method"], self.scope["path"]
            logger.warning(_REFUSED, *called, error.status, error.code, self._request_id)
            body, headers = refusal(error, self._request_id)
            await self._start(error.status, headers)
            await self._send({"type": "http.response.body", "body": body})

    async def send_frame(self, frame: bytes) -> None:
        """Send a frame of a stream, which starts with the first one."""
        if not self.is_started:
            await self._start(200, list(_STREAM))
        await self._send({"type": "http.response.body", "body": frame, "more_body": True})

    async def end(self) -> None:
        """End the stream, even if it has no frames."""
        if not self.is_started:
            await self._start(200, list(_STREAM))
        await self._send({"type": "http.response.body", "body": b""})

    async def _whole(self, body: bytes, content_type: tuple[bytes, bytes]) -> None:
        await self._start(200, [content_type, (b"content-length", str(len(body)).encode())])
        await self._send({"type": "http.response.body", "body": body})

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.is_started = True
        own = [(b"x-request-id", self._request_id.encode("latin-1", "replace")), (b"x-platform-server", _SERVER)]
        if self.session_id is not None:
            own.append((b"x-agent-session-id", self.session_id.encode("latin-1", "replace")))
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *own, *self._added]})


class ClientWatch:
    """Reports that a client has disconnected. Its task starts late, because most responses are short."""

    def __init__(self, receive: Receive, leave: Callable[[], None]) -> None:
        self._receive = receive
        self._leave = leave
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(WATCHED_AFTER_SECONDS, self._begin)

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        task, self._task = self._task, None  # Kept, it would keep this object, and be kept by it.
        if task is not None:
            task.cancel()

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._watch(), name="hostedagent-client")

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()


_SERVER: Final = f"hostedagent/{importlib.metadata.version('hostedagent')}".encode()


def conflict(response_id: str) -> RequestError:
    """The error for a response id that is in use."""
    return Conflict(f"There is a response with the id {response_id!r}.")


_NOTHING: Final = nullcontext()


def caller_trace(headers: Mapping[str, str]) -> AbstractContextManager[None]:
    """Make the caller's span and baggage current for a block, unless an instrumented application has done so."""
    has_trace = "traceparent" in headers or "baggage" in headers
    if not has_trace or trace.get_current_span().get_span_context().is_valid:
        return _NOTHING
    return _extracted(headers)


@contextmanager
def _extracted(headers: Mapping[str, str]) -> Generator[None]:
    from opentelemetry import propagate  # It looks for propagators when it is imported.

    token = context.attach(propagate.extract(headers))
    try:
        yield
    finally:
        context.detach(token)
