"""Parses and writes server-sent events: bytes to frames and back, without I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from hostedagent.protocol.json import decode, encode
from hostedagent.protocol.types import Json

KEEP_ALIVE: Final = b": keep-alive\n\n"
"""Comment sent on a quiet stream, so that no proxy closes the connection."""


class Frame(Struct, frozen=True):
    """One frame of an event stream; a comment such as `: keep-alive` has no data."""

    event: str | None
    data: str
    comment: str | None = None


class FrameReader:
    """Splits a byte stream into frames, wherever its chunks begin and end."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Add a chunk and yield the frames that it completes."""
        # A chunk may end between CR and LF, so line ends are normalised on whole buffers, minus a trailing CR.
        buffer = self._rest + chunk
        held = b"\r" if buffer.endswith(b"\r") else b""
        text = buffer[: len(buffer) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *blocks, rest = text.split(b"\n\n")
        self._rest = rest + held
        for block in blocks:
            yield from _frames(block.decode())

    @property
    def unfinished(self) -> bytes:
        """The bytes of a frame that the stream did not finish; `b""` after a clean end."""
        return self._rest.strip()


def _frames(block: str) -> Iterator[Frame]:
    event: str | None = None
    data: list[str] = []
    for line in block.split("\n"):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line.startswith(":"):
            yield Frame(event=None, data="", comment=value)
        elif field == "event":
            event = value
        elif field == "data":
            data.append(value)
    if data:
        yield Frame(event=event, data="\n".join(data))


def event_data(event: Json) -> bytes:
    """An event, or a value of one, as ASCII JSON: some clients treat U+2028 and U+0085 as line ends."""
    data = encode(event)
    return data if data.isascii() else json.dumps(event, separators=(",", ":")).encode()


def write_frame(event_type: str, data: bytes) -> bytes:
    """The frame of an event."""
    return b"".join((b"event: ", event_type.encode(), b"\ndata: ", data, b"\n\n"))


def rewrite_frame(data: bytes) -> bytes:
    """The frame of an event stored as JSON."""
    return write_frame(decode(data)["type"], data)
