"""uvicorn's HTTP/1.1 on httptools, with two things that it lacks and uvicorn's other parser, h11, has.

A head that never ends would fill the memory. And what comes with an offer to speak another protocol, as Java's client
and `curl --http2` make one with each request, would be lost, or be taken for the next request.
Imported by `serving` where httptools is installed.
"""

from __future__ import annotations

from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
"""What the request line and the headers of one request may take together, as with h11."""


class BoundedProtocol(HttpToolsProtocol):
    """Refuses a request when more has come than it may take and still nothing could be made of it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser = _Parser(self)
        self._unused = 0

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self._unused += len(data)
        super().data_received(data)
        if self._unused > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of a request has at most {MAX_HEAD_BYTES} bytes.")

    def on_headers_complete(self) -> None:
        """The head has ended."""
        self._unused = 0
        if not self.parser.should_upgrade():  # It comes again, without the offer.
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body has come."""
        self._unused = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there, also what may follow a body in chunks."""
        self._unused = 0
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def head_without_offer(self) -> bytes:
        """The head that was parsed last, again, without the offer to speak another protocol."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])


# Can go when uvicorn ignores an offer as RFC 9110 (7.8) wants it: https://github.com/Kludex/uvicorn/issues/2722
class _Parser:
    """httptools' parser for a server that speaks nothing else: it stops at an offer, where this one goes on."""

    def __init__(self, protocol: BoundedProtocol) -> None:
        self._protocol = protocol
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpRequestParser(self._protocol)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)  # As uvicorn's own.

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def feed_data(self, data: bytes) -> None:
        """Parse.

        Raises:
            HttpParserError: It is not HTTP, or asks for a tunnel.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self._parser.get_method() == b"CONNECT":
                raise httptools.HttpParserError("CONNECT is not served.") from None
            head, rest = self._protocol.head_without_offer(), data[offer.args[0] :]
            self._begin()
            self.feed_data(head + rest)
