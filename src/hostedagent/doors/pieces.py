"""Caches the frames of deltas, which differ only in one text."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable
from typing import Final, ParamSpec

from hostedagent.protocol.sse import event_data

P = ParamSpec("P")

_EMPTY: Final = b'""'


class Pieces:
    """Serializes the frame around each kind of delta once."""

    def __init__(self) -> None:
        self._around: dict[Hashable, tuple[bytes, bytes]] = {}

    @property
    def kinds(self) -> Container[Hashable]:
        """The kinds that have occurred."""
        return self._around

    def frame(self, kind: Hashable, text: str, write: Callable[P, bytes], *args: P.args, **named: P.kwargs) -> bytes:
        """The frame of a delta.

        Args:
            write: Writes the frame of an empty delta, which must be the last empty string in it.
            *args: Positional arguments of `write`.
            **named: Keyword arguments of `write`.
        """
        around = self._around.get(kind)
        if around is None:
            before, _, after = write(*args, **named).rpartition(_EMPTY)
            around = self._around[kind] = before, after
        return b"".join((around[0], event_data(text), around[1]))
