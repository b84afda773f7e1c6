"""`EventLog`: a whole Responses event stream, checked against the strict grammar and readable at a glance.

`lines()` renders one short line per event with stable names for ids: what a golden transcript wants to compare.

Example:
    ```python
    log = EventLog.from_sse(reply.body)
    assert log.text == "Hello"
    assert log.lines() == snapshot()
    ```
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Coroutine, Iterable, Mapping
from typing import Any, cast, overload

from hostedagent.protocol.sse import Frame, FrameReader
from hostedagent.protocol.stream.grammar import Event
from hostedagent.protocol.stream.rendering import Renderer

from .checker import Grammar


class EventLog:
    """The events of one response.

    Args:
        events: event objects in order, as dicts or as models with `model_dump` (the OpenAI client's events).
        complete: False accepts a stream that was cut off at its end.
        check: False for a log that is known to be wrong.
        resumed: True accepts that another process continued the turn, after another `response.in_progress`.

    Raises:
        AssertionError: the stream breaks the grammar; the message shows the event and the lines before it.
    """

    def __init__(
        self, events: Iterable[Any], *, complete: bool = True, check: bool = True, resumed: bool = False
    ) -> None:
        self.events: list[Event] = [_as_event(event) for event in events]
        self._resumed = resumed
        if check:
            self.check(complete=complete)

    @overload
    @classmethod
    def from_sse(cls, source: bytes | str, *, complete: bool = True, check: bool = True) -> EventLog: ...
    @overload
    @classmethod
    def from_sse(
        cls, source: AsyncIterable[bytes], *, complete: bool = True, check: bool = True
    ) -> Coroutine[Any, Any, EventLog]: ...
    @classmethod
    def from_sse(
        cls, source: bytes | str | AsyncIterable[bytes], *, complete: bool = True, check: bool = True
    ) -> EventLog | Coroutine[Any, Any, EventLog]:
        """Read server-sent events: a whole body at once, or (to be awaited) chunks as they come."""
        if isinstance(source, str):
            source = source.encode()
        if isinstance(source, bytes):
            return cls(_parse([source], complete=complete), complete=complete, check=check)
        return cls._from_chunks(source, complete=complete, check=check)

    @classmethod
    async def _from_chunks(cls, source: AsyncIterable[bytes], *, complete: bool, check: bool) -> EventLog:
        chunks = [chunk async for chunk in source]
        return cls(_parse(chunks, complete=complete), complete=complete, check=check)

    @classmethod
    async def collect(cls, source: AsyncIterable[Any], *, complete: bool = True) -> EventLog:
        """Read events as they come from the in-process client or from the OpenAI client's stream."""
        return cls([event async for event in source], complete=complete)

    def check(self, *, complete: bool = True) -> None:
        """Check the stream against the grammar.

        Raises:
            AssertionError: at the first event that breaks the grammar.
        """
        grammar = Grammar(resumed=self._resumed)
        try:
            for event in self.events:
                grammar.feed(event)
            if complete:
                grammar.finish()
        except AssertionError as error:
            raise AssertionError(f"{error}\nthe stream was:\n" + "\n".join(self.lines())) from None

    @property
    def types(self) -> list[str]:
        """The event types, in order."""
        return [str(event.get("type")) for event in self.events]

    @property
    def response(self) -> Mapping[str, Any]:
        """The last snapshot of the response: the final one of a complete stream."""
        snapshots = [event["response"] for event in self.events if "response" in event]
        return snapshots[-1] if snapshots else {}

    @property
    def status(self) -> str | None:
        """The status in the last snapshot."""
        return self.response.get("status")

    @property
    def items(self) -> list[Mapping[str, Any]]:
        """The items that are done, in order of their output index."""
        done = {event["output_index"]: event["item"] for event in self.of_type("response.output_item.done")}
        return [done[index] for index in sorted(done)]

    @property
    def text(self) -> str:
        """All output text, joined from the deltas."""
        return "".join(str(event["delta"]) for event in self.of_type("response.output_text.delta"))

    @property
    def usage(self) -> Mapping[str, Any] | None:
        """The usage in the last snapshot."""
        return self.response.get("usage")

    def of_type(self, event_type: str) -> list[Event]:
        """The events of a type, in order."""
        return [event for event in self.events if event.get("type") == event_type]

    def lines(self) -> list[str]:
        """One short line per event, with stable names for ids."""
        renderer = Renderer()
        return [renderer.line(event) for event in self.events]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __len__(self) -> int:
        return len(self.events)


def _as_event(event: Any) -> Event:
    if isinstance(event, Mapping):
        return cast("Event", event)
    # Fields that the server did not send must not appear as null: annotations and items are compared whole.
    return cast("Event", event.model_dump(mode="json", exclude_unset=True, by_alias=True))


def _parse(chunks: Iterable[bytes], *, complete: bool) -> list[Event]:
    reader = FrameReader()
    frames = [frame for chunk in chunks for frame in reader.feed(chunk)]
    if complete and reader.unfinished:
        raise AssertionError(f"the stream ended inside a frame: {reader.unfinished!r}")
    return [event_of(frame) for frame in frames if frame.comment is None and frame.data != "[DONE]"]


def event_of(frame: Frame) -> dict[str, Any]:
    """The event object in a frame.

    Raises:
        AssertionError: The data is no JSON object, or the `event:` line contradicts the `type` in it.
    """
    try:
        value: Any = json.loads(frame.data)
    except ValueError as error:
        raise AssertionError(f"an SSE frame is not JSON: {frame.data!r}") from error
    if not isinstance(value, dict):
        raise AssertionError(f"an SSE frame must carry a JSON object, not {frame.data!r}")
    found = cast("dict[str, Any]", value)
    if frame.event is not None and "type" in found and found["type"] != frame.event:
        raise AssertionError(f"the SSE line says event: {frame.event!r}, the data says type {found['type']!r}")
    return found
