"""The events of a background stream that an earlier process sent, as far as resuming its turn needs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from hostedagent.identity import Caller
from hostedagent.protocol.json import decode
from hostedagent.protocol.sse import event_data
from hostedagent.protocol.stream.interrupted import closing_events
from hostedagent.protocol.types import Event, Item
from hostedagent.stores.base import EventLog, LoggedEvent, StoreNotFound, extend

TERMINAL: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})
"""The events that nothing follows."""


@dataclass(slots=True)
class Sent:
    """The content of an event log.

    Args:
        items: The finished items, by output index.
        name: The name of the log; empty if nothing was sent.
        has_ended: Whether the terminal event was sent, after which no other may follow.
        last: The number of the last event, if the driver continues the numbering.
    """

    items: dict[int, Item] = field(default_factory=dict[int, Item])
    name: str = ""
    has_ended: bool = False
    last: int = -1


class SentEvents(Protocol):
    """The logs of background streams. Their driver numbers and keeps the events."""

    async def repair(self, caller: Caller, response_id: str) -> Sent:
        """Close the items that an earlier process left open in a log, and return the content of the log.

        Raises:
            StoreError: The log is not available, or the earlier process still writes it.
        """
        ...

    async def announce(self, sent: Sent, event: Event) -> None:
        """Send an event to the clients that resume the stream."""
        ...

    async def discard(self, caller: Caller, response_id: str) -> None:
        """Delete the log of a response."""
        ...


class LoggedSentEvents:
    """The `SentEvents` of the drivers that keep events in an `EventLog`."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def repair(self, caller: Caller, response_id: str) -> Sent:
        """Close the open items of a log, and return its content."""
        try:
            events: list[Event] = [decode(row.data) for row in await self._log.read(caller, response_id)]
        except StoreNotFound:
            return Sent()
        sent = Sent(has_ended=any(event["type"] in TERMINAL for event in events))
        sent.last = events[-1]["sequence_number"] if events else -1
        if not sent.has_ended:
            closing = [{**event, "sequence_number": sent.last + n} for n, event in enumerate(closing_events(events), 1)]
            rows = [LoggedEvent(event["sequence_number"], event_data(event)) for event in closing]
            await extend(self._log, caller, response_id, rows)
            events += closing
            sent.last += len(closing)
        for event in events:
            if event["type"] == "response.output_item.done":
                sent.items[event["output_index"]] = event["item"]
        return sent

    async def announce(self, sent: Sent, event: Event) -> None:
        """Does nothing: the turn's own events reach clients that resume the stream."""

    async def discard(self, caller: Caller, response_id: str) -> None:
        """Delete the log of a response."""
        await self._log.delete(caller, response_id)
