"""The response that a turn builds, and the events that report its start, its items and its end.

Nothing is copied. The item of an `output_item.done` event is the item in `response["output"]`, and the snapshot in a
response event shares its items. Events therefore belong to the turn: a sender must copy an event before changing it.
There are two exceptions: `coalescing` joins deltas that it has not passed on yet, and the turn sets fields of
`response` itself, which no event shares.

Events have no sequence numbers: the driver that sends them adds the numbers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from hostedagent.failures import error_object
from hostedagent.outcomes import Failed
from hostedagent.protocol.types import Event, Item, Json, MutableItem
from hostedagent.protocol.wire import wire_text, wire_value


class ResponseBuilder:
    """Builds one response.

    Args:
        fields: The fields that the response repeats from its request.

    Attributes:
        is_watched: Whether anybody reads the events inside items; otherwise these have no fields.
    """

    def __init__(self, response_id: str, fields: Mapping[str, Json] | None = None) -> None:
        self.response: dict[str, Json] = {
            "id": response_id,
            "object": "response",
            "output": [],
            "created_at": int(time.time()),
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            **(fields or {}),
        }
        self.is_watched = True
        self._next_index = 0
        self._hidden: list[Item] = []

    @classmethod
    def resumed(cls, response: Mapping[str, Json]) -> ResponseBuilder:
        """A builder that continues the response of an earlier process after its existing items."""
        builder = cls(response["id"], response)
        builder.response["output"] = list(response.get("output") or ())
        builder._next_index = len(builder.response["output"])
        return builder

    @property
    def id(self) -> str:
        """The id of the response."""
        return self.response["id"]

    def hide(self, item_id: str, author: str | None, item: MutableItem, **memory: Json) -> None:
        """Store an item that clients never see with the next finished item."""
        hidden = OutputItem(self, item_id, -1, author)
        hidden.remember(**memory)
        self._hidden.append(hidden.complete(item))

    def open_item(self, item_id: str, author: str | None) -> OutputItem:
        """Reserve the next place in the output. The item's `added` event must be sent before another item opens."""
        index, self._next_index = self._next_index, self._next_index + 1
        return OutputItem(self, item_id, index, author)

    @property
    def has_hidden(self) -> bool:
        """Whether there are hidden items that are not yet stored with an item."""
        return bool(self._hidden)

    def take_hidden(self) -> list[Item]:
        """Take the hidden items that are not yet stored; called by the item that stores them."""
        hidden, self._hidden = self._hidden, []
        return hidden

    def put(self, index: int, item: Item) -> None:
        """Place a finished item in the output. Earlier items that are still open leave a gap."""
        output = self.response["output"]
        output.extend([None] * (index + 1 - len(output)))
        output[index] = item

    def created(self) -> Event:
        """The `response.created` event."""
        return self._event("response.created", "in_progress")

    def queued(self) -> tuple[Event, Event]:
        """The events of a response that is queued: `response.created` and `response.queued`."""
        return self._event("response.created", "queued"), self._event("response.queued", "queued")

    def in_progress(self) -> Event:
        """The `response.in_progress` event."""
        return self._event("response.in_progress", "in_progress")

    def completed(self, usage: Json) -> Event:
        """The terminal event of a completed response."""
        return self._event(
            "response.completed",
            "completed",
            error=None,
            incomplete_details=None,
            completed_at=int(time.time()),
            usage=usage,
        )

    def incomplete(self, reason: str, usage: Json) -> Event:
        """The terminal event of an incomplete response."""
        return self._event(
            "response.incomplete",
            "incomplete",
            error=None,
            incomplete_details={"reason": reason},
            completed_at=None,
            usage=usage,
        )

    def failed(self, failure: Failed, usage: Json) -> Event:
        """The terminal event of a failed response."""
        return self._event(
            "response.failed",
            "failed",
            error=error_object(failure),
            incomplete_details=None,
            completed_at=None,
            usage=usage,
        )

    def _event(self, kind: str, status: str, **fields: Json) -> Event:
        self.response.update(status=status, **fields)
        return {"type": kind, "response": {**self.response, "output": list(self.response["output"])}}


class OutputItem:
    """One output item: its id, its index, and the events that every item has."""

    __slots__ = ("_author", "_builder", "_memory", "id", "index")

    def __init__(self, builder: ResponseBuilder, item_id: str, index: int, author: str | None) -> None:
        self._builder = builder
        self._author = author
        self._memory: dict[str, Json] = {}
        self.id = item_id
        self.index = index

    def remember(self, **values: Json) -> None:
        """Store values with the item that clients never see; `recall` reads them from the history."""
        self._memory = values

    def added(self, item: MutableItem) -> Event:
        """The `response.output_item.added` event; `item` without its id."""
        return {"type": "response.output_item.added", "output_index": self.index, "item": self.complete(item)}

    def event(self, kind: str, **fields: Json) -> Event:
        """An event inside the item."""
        if not self._builder.is_watched:
            return {"type": kind}
        return {"type": kind, "item_id": self.id, "output_index": self.index, **wire_value(fields)}

    def done(self, item: MutableItem) -> Event:
        """The `response.output_item.done` event, which also puts the item into the response; `item` without its id."""
        if hidden := self._builder.take_hidden():
            self._memory = {**self._memory, "hidden": hidden}
        whole = self.complete(item)
        self._builder.put(self.index, whole)
        return {"type": "response.output_item.done", "output_index": self.index, "item": whole}

    def complete(self, item: MutableItem) -> MutableItem:
        """The item with its id, its author and its remembered values."""
        response = self._builder.response
        item = wire_value(item)
        item["id"] = self.id
        item["response_id"] = response["id"]
        if self._author is not None:
            item["agent_reference"] = {"type": "agent_reference", "name": wire_text(self._author)}
        else:
            item["agent_reference"] = response.get("agent_reference")
        if self._memory:
            item["internal_metadata"] = {"hostedagent": self._memory}
        return item
