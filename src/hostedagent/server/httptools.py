"""uvicorn's HTTP/1.1 on httptools, with limits for a server that is exposed to any client.

An endless head would fill the memory, and a missing one would occupy a connection. A request without exactly one `Host`
is ambiguous. The body of a request that offers to upgrade the protocol, as Java's client and `curl --http2` do, would
be lost, or be parsed as a request. Imported by `server.uvicorn` if httptools is installed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar, Final, Literal, NoReturn, TypeAlias, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from hostedagent.server.limits import ConnectionLimits

logger = logging.getLogger(__name__)

Awaited: TypeAlias = Literal["head", "body"]
"""The part of a request that must arrive before a deadline."""

MAX_HEAD_BYTES: Final = 64 * 1024
"""Maximum bytes of the request line and headers of one request, as in h11."""

TOO_LONG: Final = f"The head of a request has at most {MAX_HEAD_BYTES} bytes."

BAD_REQUEST: Final = "400 Bad Request"
TIMED_OUT: Final = "408 Request Timeout"
BUSY: Final = "503 Service Unavailable"


def bounded(limits: ConnectionLimits) -> type[BoundedProtocol]:
    """The protocol of a server with these limits."""
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits, "max_connections": limits.connections()})


class BoundedProtocol(HttpToolsProtocol):
    """Refuses malformed and slow requests, and connections beyond the limit."""

    limits: ClassVar[ConnectionLimits] = ConnectionLimits()
    max_connections: ClassVar[int | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser = _Parser(self)
        self._unused = 0
        self._hosts = 0
        self._refusal: str | None = None
        self._awaited: Awaited | None = "head"
        self._deadline: asyncio.TimerHandle | None = None
        self._watched: Awaited | None = None
        """The part that the deadline is for."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Handle a new connection."""
        super().connection_made(transport)
        if self._is_one_too_many() and not self._close_a_quiet_one():
            logger.warning("A connection was refused: there are as many as HostOptions.max_connections allows.")
            self._refuse(BUSY, "Too many connections. Try again later.", b"retry-after: 1\r\n")
        else:
            self._watch("head")

    def _is_one_too_many(self) -> bool:
        return self.max_connections is not None and len(self.connections) > self.max_connections

    def _close_a_quiet_one(self) -> bool:
        """Close a connection that is only kept for a next request, if there is one."""
        for other in self.connections:
            if isinstance(other, BoundedProtocol) and other.is_quiet():
                other.timeout_keep_alive_handler()
                return True
        return False

    def is_quiet(self) -> bool:
        """Whether the connection is open and only kept for a next request."""
        return self.timeout_keep_alive_task is not None and not self.transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Handle a closed connection."""
        self._watch(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        if self.transport.is_closing():
            return
        self._unused += len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(BAD_REQUEST, self._refusal or "Invalid HTTP request received.")
            return
        if self._unused > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(BAD_REQUEST, TOO_LONG)
        # Only now: most requests arrive whole, and need no deadline. Empty lines may precede a head.
        self._watch(self._awaited or ("head" if self._unused else None))

    def on_message_begin(self) -> None:
        """Start a request."""
        self._hosts = 0
        self._awaited = "head"
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header. A trailer is dropped: it could name a host or a user that no proxy has checked."""
        if self._awaited == "body":
            return
        self._hosts += name.lower() == b"host"
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End the head."""
        self._unused = 0
        # Also of a head that arrived in one piece, or in the same one as the request before it.
        if len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers]) > MAX_HEAD_BYTES:
            self._reject(TOO_LONG)
        if self.parser.should_upgrade() and not self.takes_offer():  # It is parsed again, without the offer.
            return
        version = self.parser.get_http_version()
        if self._hosts > 1 or (self._hosts == 0 and version == "1.1"):
            self._reject(f"A request has exactly one Host header, and this one has {self._hosts}.")
        super().on_headers_complete()
        if not self.parser.should_upgrade():
            self._awaited = "body"

    def _reject(self, reason: str) -> NoReturn:
        self._refusal = reason
        raise ValueError(reason)  # The parser raises it as one of its own errors.

    def on_body(self, body: bytes) -> None:
        """Add a chunk of the body."""
        self._unused = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request, including trailers."""
        self._unused = 0
        if not self.parser.should_upgrade():
            self._awaited = None
            super().on_message_complete()

    def takes_offer(self) -> bool:
        """Whether the client offers to open a WebSocket, and they are served."""
        return self._should_upgrade()

    def take_offer(self) -> None:
        """Pass the connection to the WebSocket protocol."""
        self._awaited = None
        self.handle_websocket_upgrade()

    def head_without_offer(self) -> bytes:
        """The last head, without the offer to upgrade."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    @property
    def _latest(self) -> RequestResponseCycle | None:
        return cast("RequestResponseCycle | None", self.cycle)

    def _watch(self, awaited: Awaited | None) -> None:
        """Set the deadline of a part of a request, unless it is already running."""
        if awaited == self._watched:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self._watched, self._deadline = awaited, None
        if awaited == "head":
            self._deadline = self.loop.call_later(self.limits.head_timeout, self._close_without_head)
        elif awaited == "body":
            self._deadline = self.loop.call_later(self.limits.body_timeout, self._close_without_body)

    def _close_without_head(self) -> None:
        if self._unused:
            self._refuse(TIMED_OUT, "The head of the request did not arrive in time.")
        elif not self.transport.is_closing():  # The client only keeps the connection open.
            self.transport.close()

    def _close_without_body(self) -> None:
        self._refuse(TIMED_OUT, "The body of the request did not arrive in time.")

    def _refuse(self, status: str, message: str, headers: bytes = b"") -> None:
        """Answer without the application, unless it has started to answer, and close the connection."""
        if self.transport.is_closing():
            return
        cycle = self._latest
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(
                b"HTTP/1.1 %s\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n%s"
                b"content-length: %d\r\n\r\n%s" % (status.encode(), headers, len(message), message.encode())
            )
        self.transport.close()


# Can go when uvicorn ignores an offer as RFC 9110 (7.8) wants it: https://github.com/Kludex/uvicorn/issues/2722
class _Parser:
    """A request parser that ignores offers to upgrade, at which httptools' own parser stops."""

    def __init__(self, protocol: BoundedProtocol) -> None:
        self._protocol = protocol
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpRequestParser(self._protocol)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)  # As uvicorn's own.

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def feed_data(self, data: bytes) -> None:
        """Parse; raises `HttpParserError` when it is not HTTP, or asks for a tunnel."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self._parser.get_method() == b"CONNECT":
                raise httptools.HttpParserError("CONNECT is not served.") from None
            if self._protocol.takes_offer():
                self._protocol.take_offer()
                return
            head, rest = self._protocol.head_without_offer(), data[offer.args[0] :]
            self._begin()
            self.feed_data(head + rest)
