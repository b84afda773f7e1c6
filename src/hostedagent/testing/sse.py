"""Server-sent events, read incrementally: bytes in, frames out. No input or output of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of an event stream; a comment (`: keep-alive`) has no data."""

    event: str | None
    data: str
    comment: str | None = None

    def json(self) -> dict[str, Any]:
        """The data as an event object.

        Raises:
            AssertionError: the data is no JSON object, or the `event:` line contradicts the `type` in it.
        """
        try:
            value: Any = json.loads(self.data)
        except ValueError as error:
            raise AssertionError(f"not JSON in an SSE frame: {self.data!r}") from error
        if not isinstance(value, dict):
            raise AssertionError(f"an SSE frame must carry a JSON object, not {self.data!r}")
        found = cast("dict[str, Any]", value)
        if self.event is not None and "type" in found and found["type"] != self.event:
            raise AssertionError(f"the SSE line says event: {self.event!r}, the data says type {found['type']!r}")
        return found


class FrameReader:
    """Cuts a byte stream into frames, wherever the chunks happen to be cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Add a chunk; yields the frames it completes."""
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
        """What is left when the stream ended inside a frame; `b""` for a clean end."""
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
