"""Tools that the model's service runs: a call and its result are two contents and one item.

The call opens the item, and the result with the same id closes it, however much arrives between them. A result without
a call creates the whole item; a call without a result is closed with the response.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Literal

from agent_framework import Content

from hostedagent.errors import InvalidRequest, foreign_attribute
from hostedagent.protocol.content.codec import COMPLETED, End, OpenItem, Output, Part, recall
from hostedagent.protocol.types import Emission, Event, Item, Json, MutableItem
from hostedagent.protocol.values import is_array, is_object, is_rows

CallStatus = Literal["in_progress", "completed", "incomplete", "failed"]


class CallItem(OpenItem):
    """Base of the items of service tools: when they end, and the progress events that they send.

    A family defines the fields of the item (`wire`), how a part changes it (`take`, which sets `has_result` when the
    part ends the call), and the events before the last progress event (`finish`).
    """

    prefix: ClassVar[str]
    item_type: ClassVar[str]
    outlasts = None

    def __init__(self, part: Part, output: Output) -> None:
        super().__init__(part, output)
        self.call_id = ""
        self.has_result = False
        self.failed_with: CallStatus | None = None

    def ends_before(self, part: Part) -> bool:
        """Nothing else ends the call: its result may arrive after other parts of the author."""
        return False

    def ends_at_finish(self, message_id: str | None) -> bool:
        """A model call that pauses finishes before its tools have answered."""
        return False

    def append(self, part: Part) -> Iterator[Emission]:
        """Take a part of the call, or its result."""
        content = part.content
        self.call_id = self.call_id or content.call_id or content.image_id or ""
        if content.status in ("failed", "incomplete"):
            self.failed_with = content.status
        yield from self.take(part)
        if self.has_result:
            yield from self.close(COMPLETED)
            self.is_closed = True

    def begin(self) -> Iterator[Event]:
        """Send the item's `added` event, once."""
        if self.item is not None:
            return
        self.item = self.output.item(self.prefix, self.first)
        if self.call_id:
            self.item.remember(call_id=self.call_id, **self.memory())
        yield self.item.added(self.wire("in_progress"))
        yield self.step("in_progress")

    def close(self, end: End) -> Iterator[Emission]:
        """End the item with the fields that are known."""
        yield from self.begin()
        status = self.failed_with or end.status
        yield from self.finish(status)
        if status == "completed":
            yield self.step(status)
        yield self.opened.done(self.wire(status))

    def step(self, name: str) -> Event:
        """The event that reports progress, `response.<item type>.<name>`."""
        return self.opened.event(f"response.{self.item_type}.{name}")

    def memory(self) -> Mapping[str, Json]:
        """Values to keep with the stored item besides the call's id."""
        return {}

    def finish(self, status: CallStatus) -> Iterable[Event]:
        """The events before the last progress event."""
        return ()

    @abstractmethod
    def take(self, part: Part) -> Iterable[Event]:
        """Take the fields of a part."""

    @abstractmethod
    def wire(self, status: CallStatus) -> MutableItem:
        """The item with the fields that are known, without its id."""


def raw_value(content: Content, name: str) -> object:
    """A field of the provider's object behind a content; `None` if there is none."""
    raw: object = content.raw_representation
    if is_array(raw) and raw:
        raw = raw[-1]
    return raw.get(name) if is_object(raw) else foreign_attribute(raw, name)


def raw_text(content: Content, name: str) -> str:
    """A string field of the provider's object; empty if there is none."""
    value = raw_value(content, name)
    return value if isinstance(value, str) else ""


def read_call_id(item: Item) -> str:
    """The provider's id of the call of a stored item, or the item's own id if a caller sent it.

    Raises:
        InvalidRequest: The item has neither.
    """
    call_id = recall(item).get("call_id") or item.get("id")
    if not isinstance(call_id, str) or not call_id:
        raise InvalidRequest(f"{item.get('type')} needs id, a non-empty string.", param="id")
    return call_id


def read_text(item: Item, name: str) -> str | None:
    """An optional string field of an item."""
    value = item.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{item.get('type')}.{name} must be a string.", param=name)
    return value


def read_list(item: Item, name: str) -> Sequence[Json] | None:
    """An optional array field of an item."""
    value = item.get(name)
    if value is not None and not is_rows(value):
        raise InvalidRequest(f"{item.get('type')}.{name} must be an array.", param=name)
    return value


def read_status(item: Item) -> str | None:
    """The item's status if it is not `completed`."""
    status = item.get("status")
    return status if status in ("failed", "incomplete") else None
