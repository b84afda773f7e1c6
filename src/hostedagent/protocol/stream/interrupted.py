"""Completes the events of interrupted items from those that were sent, so that each item starts and ends once.

Interrupted output stays in the response but is in no prompt: the process that resumes the turn repeats it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct, field

from hostedagent.protocol.content.codec import recall
from hostedagent.protocol.types import Event, Item, Json, MutableItem

_MARK: Final = "cut_off"

_CHANNELS: Final[Mapping[str, tuple[str, str]]] = {
    "response.output_text": ("text", "content_index"),
    "response.refusal": ("refusal", "content_index"),
    "response.reasoning_text": ("text", "content_index"),
    "response.reasoning_summary_text": ("text", "summary_index"),
    "response.function_call_arguments": ("arguments", ""),
    "response.mcp_call_arguments": ("arguments", ""),
    "response.custom_tool_call_input": ("input", ""),
    "response.code_interpreter_call_code": ("code", ""),
}
"""Streamed text: the field of the `done` event that repeats it, and the index field within the item."""

_PARTS: Final[Mapping[str, tuple[str, str]]] = {
    "response.content_part": ("content_index", "content"),
    "response.reasoning_summary_part": ("summary_index", "summary"),
}
"""Parts of items: their index field, and the field of the item that contains them."""

_TEXTS: Final[Mapping[str, str]] = {
    "output_text": "response.output_text",
    "refusal": "response.refusal",
    "reasoning_text": "response.reasoning_text",
    "summary_text": "response.reasoning_summary_text",
}
"""The text of each type of part."""

_UNFINISHED: Final = {"web_search_call": "failed", "image_generation_call": "failed"}
"""Statuses of item types without an `incomplete`."""


def is_cut_off(item: Item) -> bool:
    """Whether an item must not be in a prompt."""
    return bool(recall(item).get(_MARK))


def cut_off(item: Item) -> MutableItem:
    """The same item, marked so that it is in no prompt."""
    return {**item, "internal_metadata": {"hostedagent": {**recall(item), _MARK: True}}}


def closing_events(events: Iterable[Event]) -> Iterator[Event]:
    """The events that end the items these events left open, without sequence numbers."""
    items: dict[int, _OpenItem] = {}
    for event in events:
        match event["type"]:
            case "response.output_item.added":
                items[event["output_index"]] = _OpenItem(event["output_index"], event["item"])
            case "response.output_item.done":
                items.pop(event["output_index"], None)
            case _ if (item := items.get(event.get("output_index", -1))) is not None:
                item.see(event)
            case _:
                pass
    for index in sorted(items):
        yield from items[index].close()


class _OpenItem(Struct):
    """An item that has begun and not ended."""

    index: int
    item: Item
    texts: dict[tuple[str, int], str] = field(default_factory=dict[tuple[str, int], str])
    ended: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    parts: dict[tuple[str, int], MutableItem] = field(default_factory=dict[tuple[str, int], MutableItem])

    def see(self, event: Event) -> None:
        """Record an event of the item."""
        name, _, edge = str(event["type"]).rpartition(".")
        if name == "response.output_text.annotation":
            part = self.parts.get(("response.content_part", event["content_index"]), {})
            part["annotations"] = [*part.get("annotations", ()), event["annotation"]]
        elif name in _CHANNELS:
            whole, counter = _CHANNELS[name]
            key = (name, event[counter] if counter else 0)
            if edge == "delta":
                self.texts[key] = self.texts.get(key, "") + event["delta"]
            else:
                self.texts[key] = event[whole]
                self.ended.add(key)
        elif name in _PARTS:
            key = (name, event[_PARTS[name][0]])
            self.parts[key] = dict(event["part"])
            if edge == "done":
                self.ended.add(key)
            else:
                self.texts.setdefault((_TEXTS[event["part"]["type"]], key[1]), "")

    def close(self) -> Iterator[Event]:
        """End the texts, then the parts, then the item."""
        item: MutableItem = {**self.item}
        for (name, n), text in self.texts.items():
            whole, counter = _CHANNELS[name]
            if not counter:
                item[whole] = text
            if (name, n) not in self.ended:
                yield self._event(f"{name}.done", counter, n, {whole: text, **self._more(name)})
        for (name, n), part in self.parts.items():
            counter, place = _PARTS[name]
            if (name, n) not in self.ended:
                whole = "refusal" if part["type"] == "refusal" else "text"
                part[whole] = self.texts[_TEXTS[part["type"]], n]
                yield self._event(f"{name}.done", counter, n, {"part": part})
            item[place] = [*item.get(place, ()), part]
        if "status" in item:
            item["status"] = _UNFINISHED.get(str(item["type"]), "incomplete")
        yield {"type": "response.output_item.done", "output_index": self.index, "item": item}

    def _more(self, name: str) -> dict[str, Json]:
        if name == "response.output_text":
            return {"logprobs": []}
        return {"name": self.item.get("name")} if name == "response.function_call_arguments" else {}

    def _event(self, kind: str, counter: str, n: int, fields: dict[str, Json]) -> Event:
        place = {counter: n} if counter else {}
        return {"type": kind, "item_id": self.item["id"], "output_index": self.index, **place, **fields}
