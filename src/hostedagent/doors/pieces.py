"""Frames that differ in one text only: a stream has thousands of them."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable
from typing import Final, ParamSpec

from hostedagent.protocol.sse import event_data

P = ParamSpec("P")

_EMPTY: Final = b'""'


class Pieces:
    """Writes the frame around each kind of piece once."""

    def __init__(self) -> None:
        self._around: dict[Hashable, tuple[bytes, bytes]] = {}

    @property
    def kinds(self) -> Container[Hashable]:
        """The kinds of which there was a piece."""
        return self._around

    def frame(self, kind: Hashable, text: str, write: Callable[P, bytes], *args: P.args, **named: P.kwargs) -> bytes:
        """The frame of a piece.

        Args:
            kind: What it is a piece of.
            text: The piece.
            write: Writes the frame of an empty piece, in which no other text that is empty comes later.
            *args: What it is given.
            **named: As `args`.
        """
        around = self._around.get(kind)
        if around is None:
            before, _, after = write(*args, **named).rpartition(_EMPTY)
            around = self._around[kind] = before, after
        return b"".join((around[0], event_data(text), around[1]))
