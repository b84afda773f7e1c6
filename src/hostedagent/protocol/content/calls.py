"""Tools that the model's service runs: a call and its result are two contents and one item.

The call opens the item, the result that has the call's id closes it, however much comes between them. A result whose
call was never seen makes the whole item; a call whose result never comes is closed with the response.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Literal, cast

from agent_framework import Content

from hostedagent.errors import InvalidRequest, foreign_attribute
from hostedagent.protocol.content.codec import COMPLETED, BaseItem, End, Output, OutputItem, Part, recall
from hostedagent.protocol.types import Emission, Event, Item, Json, MutableItem

CallStatus = Literal["in_progress", "completed", "incomplete", "failed"]


class CallItem(BaseItem, ABC):
    """What the items of the service's tools share: when they end, and the steps they report on the way.

    A family says what the item holds (`wire`), how far a part brings it (`take`, which sets `has_result` when the
    part ends the call), and what is due before the last step (`finish`).
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
        """Nothing else ends the call: its result may come after other things that the author does."""
        return False

    def ends_at_finish(self, message_id: str | None) -> bool:
        """A model call that pauses finishes before its tools have answered."""
        return False

    def append(self, part: Part) -> Iterator[Emission]:
        """Take the call, more of it, or its result."""
        content = part.content
        self.call_id = self.call_id or content.call_id or content.image_id or ""
        if content.status in ("failed", "incomplete"):
            self.failed_with = content.status
        yield from self.take(part)
        if self.has_result:
            yield from self.close(COMPLETED)
            self.is_closed = True

    def begin(self) -> Iterator[Event]:
        """Put the item on the wire, once."""
        if self.item is not None:
            return
        self.item = self.output.item(self.prefix, self.first)
        if self.call_id:
            self.item.remember(call_id=self.call_id, **self.memory())
        yield self.item.added(self.wire("in_progress"))
        yield self.step("in_progress")

    def close(self, end: End) -> Iterator[Emission]:
        """End the item with what is known of it."""
        yield from self.begin()
        status = self.failed_with or end.status
        yield from self.finish(status)
        if status == "completed":
            yield self.step(status)
        yield self.opened.done(self.wire(status))

    @property
    def opened(self) -> OutputItem:
        """The item on the wire; only after `begin`."""
        assert self.item is not None
        return self.item

    def step(self, name: str) -> Event:
        """The event that reports progress, `response.<item type>.<name>`."""
        return self.opened.event(f"response.{self.item_type}.{name}")

    def memory(self) -> Mapping[str, Json]:
        """What must be kept with the stored item besides the call's id."""
        return {}

    def finish(self, status: CallStatus) -> Iterable[Event]:
        """The events that are due before the last step."""
        return ()

    @abstractmethod
    def take(self, part: Part) -> Iterable[Event]:
        """Take what a part brings."""

    @abstractmethod
    def wire(self, status: CallStatus) -> MutableItem:
        """The item as it is known by now, without its id."""


def raw_value(content: Content, name: str) -> object:
    """A field of the provider's own object that a content was made from; `None` where there is none."""
    raw: object = content.raw_representation
    if isinstance(raw, list) and raw:
        raw = cast("list[object]", raw)[-1]
    if isinstance(raw, dict):
        return cast("dict[str, object]", raw).get(name)
    return foreign_attribute(cast("object", raw), name)


def raw_text(content: Content, name: str) -> str:
    """A text field of the provider's own object; empty where there is none."""
    value = raw_value(content, name)
    return value if isinstance(value, str) else ""


def read_call_id(item: Item) -> str:
    """The id by which the provider knows the call of a stored item, or the item's own for one that a caller sends.

    Raises:
        InvalidRequest: There is neither.
    """
    call_id = recall(item).get("call_id") or item.get("id")
    if not isinstance(call_id, str) or not call_id:
        raise InvalidRequest(f"{item.get('type')} needs id, a non-empty string.", param="id")
    return call_id


def read_text(item: Item, name: str) -> str | None:
    """An optional text field of an item."""
    value = item.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{item.get('type')}.{name} must be a string.", param=name)
    return value


def read_list(item: Item, name: str) -> Sequence[Json] | None:
    """An optional array field of an item."""
    value = item.get(name)
    if value is not None and not isinstance(value, (list, tuple)):
        raise InvalidRequest(f"{item.get('type')}.{name} must be an array.", param=name)
    return cast("Sequence[Json] | None", value)


def read_status(item: Item) -> str | None:
    """The item's status where it says more than that all went well."""
    status = item.get("status")
    return status if status in ("failed", "incomplete") else None
