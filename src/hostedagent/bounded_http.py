"""uvicorn's HTTP/1.1 on httptools, with the bound that httptools lacks: a head that never ends would fill the memory.

Imported by `serving` where httptools is installed; uvicorn's other parser, h11, has a bound of its own.
"""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
"""What the request line and the headers of one request may take together, as with h11."""


class BoundedProtocol(HttpToolsProtocol):
    """Refuses a request when more has come than it may take and still nothing could be made of it."""

    _unused = 0

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self._unused += len(data)
        super().data_received(data)
        if self._unused > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of a request has at most {MAX_HEAD_BYTES} bytes.")

    def on_headers_complete(self) -> None:
        """The head has ended."""
        self._unused = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body has come."""
        self._unused = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there, also what may follow a body in chunks."""
        self._unused = 0
        super().on_message_complete()
