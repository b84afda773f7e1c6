"""The events of a background stream that an earlier process sent, as far as resuming its turn needs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from hostedagent.protocol.types import Event, Item


@dataclass(slots=True)
class Sent:
    """What a log of events contains.

    Args:
        items: The finished items, by their place in the output.
        name: The name of the log; empty when nothing was sent.
        has_ended: Whether the terminal event was sent: nothing may follow it.
    """

    items: dict[int, Item] = field(default_factory=dict[int, Item])
    name: str = ""
    has_ended: bool = False


class SentEvents(Protocol):
    """The logs of background streams. Their driver numbers and keeps the events."""

    async def repair(self, response_id: str, user: str | None) -> Sent:
        """Close what an earlier process left open in a log, and return what the log contains."""
        ...

    async def announce(self, sent: Sent, event: Event) -> None:
        """Send an event to the clients that resume the stream."""
        ...

    async def discard(self, response_id: str, user: str | None) -> None:
        """Delete the log of a response."""
        ...


class NoSentEvents:
    """The `SentEvents` of a host that resumes no turns: nothing was sent."""

    async def repair(self, response_id: str, user: str | None) -> Sent:
        """Nothing was sent."""
        return Sent()

    async def announce(self, sent: Sent, event: Event) -> None:
        """Nobody resumes the stream."""

    async def discard(self, response_id: str, user: str | None) -> None:
        """There is nothing to delete."""
