"""Prepares the SDK's event log of a background stream for a resumed turn.

A reconnecting client resumes after its last event, so the log is only extended: open items are closed as incomplete,
and the numbering continues. The SDK takes the next number from the log before it asks for the first event, so this is
done earlier.
"""

from __future__ import annotations

import asyncio
from copy import deepcopy
from typing import TYPE_CHECKING, Final

from azure.ai.agentserver.core.streaming import streams

from hostedagent.engine.sent_events import Sent
from hostedagent.identity import Caller
from hostedagent.protocol.statuses import END_EVENTS
from hostedagent.protocol.stream.interrupted import closing_events
from hostedagent.protocol.types import Event
from hostedagent.server.agentserver.ownership import private_id

if TYPE_CHECKING:
    from azure.ai.agentserver.core.streaming import EventStream

_LAST: Final = (*END_EVENTS, "error")


class SdkEvents:
    """The `SentEvents` of the SDK."""

    async def repair(self, caller: Caller, response_id: str) -> Sent:
        """Prepare the log of a turn for further events, and return its content.

        Args:
            caller: The owner of the turn; newer SDKs derive the name of the log from the user.
        """
        for stream_id in (response_id, private_id(response_id, caller.platform_user)):
            stream = await streams.get_or_create(stream_id)
            events, is_closed = await _read(stream)
            if events:
                break
            await streams.delete(stream_id)  # The lookup created it.
        else:
            return Sent()
        sent = Sent(name=stream_id, has_ended=any(event["type"] in _LAST for event in events))
        if sent.has_ended:
            await stream.close()  # The SDK starts over regardless; nothing of that may be added.
        else:
            if is_closed:  # Closed by an orderly shutdown of the process, so nothing can be added.
                stream = await _again(stream_id, events)
            number = events[-1]["sequence_number"]
            for closing in closing_events(events):
                number += 1
                events.append({**closing, "sequence_number": number})
                await stream.emit(events[-1])
        for event in events:
            if event["type"] == "response.output_item.done":
                sent.items[event["output_index"]] = event["item"]
        return sent

    async def announce(self, sent: Sent, event: Event) -> None:
        """Send an event to the clients that resume the stream.

        It gets the number of `response.created`, which the SDK counts again but does not send again.
        """
        if not sent.name or sent.has_ended:
            return
        stream = await streams.get_or_create(sent.name)
        number = await stream.last_cursor()
        # A copy: the SDK removes what clients must not see from the event itself, and the turn keeps its items.
        await stream.emit({**deepcopy(event), "sequence_number": 0 if number is None else number + 1})

    async def discard(self, caller: Caller, response_id: str) -> None:
        """Delete the log of a response, including one of an earlier process on the disk."""
        for stream_id in (response_id, private_id(response_id, caller.platform_user)):
            await streams.get_or_create(stream_id)
            await streams.delete(stream_id)


async def _read(stream: EventStream) -> tuple[list[Event], bool]:
    """The events so far, and whether the stream is closed, so that it ends instead of waiting for more."""
    events: list[Event] = []
    reader = stream.subscribe()
    while True:
        next_one = asyncio.ensure_future(anext(reader, None))
        await asyncio.wait({next_one}, timeout=0)  # Existing events arrive without waiting.
        if not next_one.done():
            next_one.cancel()
            await asyncio.wait({next_one})
            return events, False
        event: Event | None = next_one.result()
        if event is None:
            return events, True
        events.append(event)


async def _again(stream_id: str, events: list[Event]) -> EventStream:
    await streams.delete(stream_id)
    stream = await streams.get_or_create(stream_id)
    for event in events:
        await stream.emit(event)
    return stream
