"""The events of a background stream that an earlier process sent, as far as resuming its turn needs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Protocol

from msgspec import Struct, field

from hostedagent.identity import Caller
from hostedagent.protocol.envelope import public_event
from hostedagent.protocol.json import decode
from hostedagent.protocol.sse import event_data
from hostedagent.protocol.statuses import COUNTED
from hostedagent.protocol.stream.interrupted import closing_events
from hostedagent.protocol.types import Event, Item, Json
from hostedagent.protocol.values import rows_of
from hostedagent.stores.base import EventLog, LoggedEvent, StoreNotFound, extend

TERMINAL: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})
"""The events that nothing follows."""


class Sent(Struct):
    """The content of an event log.

    Args:
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
            events = await _read(self._log, caller, response_id)
        except StoreNotFound:
            return Sent()
        sent = Sent(has_ended=_has_ended(events))
        if not sent.has_ended:
            await _add(self._log, caller, response_id, events, closing_events([*events]))
        sent.last = events[-1]["sequence_number"] if events else -1
        sent.items = _finished(events)
        return sent

    async def announce(self, sent: Sent, event: Event) -> None:
        """Does nothing: the turn's own events reach clients that resume the stream."""

    async def discard(self, caller: Caller, response_id: str) -> None:
        """Delete the log of a response."""
        await self._log.delete(caller, response_id)


async def end_stream(log: EventLog, caller: Caller, response_id: str, response: Mapping[str, Json]) -> None:
    """Add what the stream of a response lacks to its end, unless it has ended, and mark its log complete.

    Args:
        response: The response as it has ended.

    Raises:
        StoreNotFound: It has no events.
        StoreConflict: Another process adds events at the same time.
        StoreUnavailable: The log is not available.
    """
    events = await _read(log, caller, response_id)
    if not _has_ended(events):
        await _add(log, caller, response_id, events, _lacking(events, response))
    await log.finish(caller, response_id)


def events_again(response: Mapping[str, Json]) -> list[LoggedEvent]:
    """A stream of a response that has ended, in the place of its own one: its items are not sent in parts."""
    begun: dict[str, Json] = {
        **response,
        "status": "in_progress",
        "output": [],
        "usage": None,
        "error": None,
        "completed_at": None,
    }
    created: Event = {"type": "response.created", "response": {**begun, "incomplete_details": None}}
    return _rows(_numbered([public_event(created), *_lacking([created], response)], 0))


def _lacking(events: list[Event], response: Mapping[str, Json]) -> Iterator[Event]:
    """The events that a stream lacks to the end of its response."""
    lacking = [*closing_events(events)]
    sent, items = _finished([*events, *lacking]), enumerate(rows_of(response.get("output")))
    lacking += [
        {"type": f"response.output_item.{edge}", "output_index": index, "item": item}
        for index, item in items
        if index not in sent
        for edge in ("added", "done")
    ]
    status = response["status"] if response["status"] in COUNTED else "failed"
    lacking.append({"type": f"response.{status}", "response": response})
    return map(public_event, lacking)


async def _read(log: EventLog, caller: Caller, response_id: str) -> list[Event]:
    return [decode(row.data) for row in await log.read(caller, response_id)]


async def _add(log: EventLog, caller: Caller, response_id: str, events: list[Event], more: Iterable[Event]) -> None:
    """Add further events to a log and to the list of those that it has."""
    numbered = _numbered(more, events[-1]["sequence_number"] + 1 if events else 0)
    await extend(log, caller, response_id, _rows(numbered))
    events += numbered


def _numbered(events: Iterable[Event], first: int) -> list[Event]:
    return [{**event, "sequence_number": number} for number, event in enumerate(events, first)]


def _rows(events: Iterable[Event]) -> list[LoggedEvent]:
    return [LoggedEvent(event["sequence_number"], event_data(event)) for event in events]


def _has_ended(events: Iterable[Event]) -> bool:
    return any(event["type"] in TERMINAL for event in events)


def _finished(events: Iterable[Event]) -> dict[int, Item]:
    """The finished items, by output index."""
    return {event["output_index"]: event["item"] for event in events if event["type"] == "response.output_item.done"}
