"""Checks a Responses event stream against the table in `grammar`, one event at a time.

Without I/O: `feed` takes an event, `finish` marks the end of the stream, and both raise `AssertionError` at the first
violation. Whether the content makes sense is not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from hostedagent.protocol.stream.grammar import EVENTS, TERMINAL_STATUSES, Event, Kind, Rule
from hostedagent.protocol.values import fields_of, is_mapping, rows_of

UNFINISHED = ("in_progress", "searching", "interpreting", "generating")
SNAPSHOT_STATUSES = {
    "response.created": ("in_progress", "queued"),
    "response.queued": ("queued",),
    "response.in_progress": ("in_progress",),
}
# Item type to the channels whose text is a field of the item itself rather than of a part.
OWN_FIELDS = {
    parent: rule.field for rule in EVENTS.values() if rule.channel and not rule.index for parent in rule.parents
}
LISTS = {"message": ("content",), "reasoning": ("summary", "content")}
LIST_OF = {"content_index": "content", "summary_index": "summary"}
FIELD_OF_PART = {rule.channel: rule.field for rule in EVENTS.values() if rule.kind == "text" and rule.index}


@dataclass(slots=True)
class _Text:
    value: str = ""
    done: bool = False


@dataclass(slots=True)
class _Part:
    type: str
    final: Mapping[str, Any] | None = None
    notes: list[Any] = field(default_factory=list[Any])


@dataclass(slots=True)
class _Item:
    id: str
    type: str
    added: Mapping[str, Any]
    texts: dict[tuple[str, int], _Text] = field(default_factory=dict[tuple[str, int], _Text])
    parts: dict[str, list[_Part]] = field(default_factory=dict[str, list[_Part]])
    last_step: Rule | None = None
    images: int = 0

    def part(self, rule: Rule, index: int) -> _Part | None:
        parts = self.parts.get(rule.index, [])
        return parts[index] if 0 <= index < len(parts) else None


class Grammar:
    """Reads one stream. `items` holds the items done so far, in order of their index."""

    def __init__(self, *, resumed: bool = False) -> None:
        self._resumed = resumed
        self._count = 0
        self._event: Event = {}
        self._last_snapshot = -1
        self._response: Mapping[str, Any] | None = None
        self._ended = False
        self._items: list[_Item] = []
        self._done: dict[int, Mapping[str, Any]] = {}
        self._ids: set[str] = set()
        self._checks: dict[Kind, Callable[[Rule], None]] = {
            "snapshot": self._snapshot,
            "terminal": self._terminal,
            "error": self._error,
            "item": self._item,
            "part": self._part,
            "text": self._text,
            "note": self._note,
            "step": self._step,
            "image": self._image,
            "loose": self._loose,
        }

    def feed(self, event: Event) -> None:
        """Check the next event.

        Raises:
            AssertionError: it breaks the grammar; the message names the event and the reason.
        """
        self._event = event
        rule = EVENTS.get(event.get("type", ""))
        if rule is None:
            self._fail("is of no known type")
        number = event.get("sequence_number")
        self._check(number == self._count, f"has sequence_number {number!r}, expected {self._count}")
        self._check(not self._ended, "comes after the terminal event")
        is_first = event["type"] == "response.created"
        self._check(is_first == (self._response is None) or rule.kind == "error", "response.created is the first event")
        self._checks[rule.kind](rule)
        self._count += 1

    def finish(self) -> None:
        """The stream has ended.

        Raises:
            AssertionError: without a terminal event.
        """
        assert self._ended, f"the stream ended after {self._count} events without a terminal event"

    def _fail(self, why: str) -> NoReturn:
        shown = repr(dict(self._event))
        shown = shown if len(shown) <= 400 else f"{shown[:400]}..."
        raise AssertionError(f"event {self._count} ({self._event.get('type')}) {why}; event: {shown}")

    def _check(self, fits: bool, why: str) -> None:
        if not fits:
            self._fail(why)

    def _same(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self._fail(f"has a wrong value: {what} is {found!r}, expected {expected!r}")

    def _object(self, name: str) -> Mapping[str, Any]:
        value = self._event.get(name)
        if not is_mapping(value):
            self._fail(f"has no object {name!r}")
        return value

    def _number(self, name: str) -> int:
        value = self._event.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            self._fail(f"has no integer {name!r}")
        return value

    def _known_response(self) -> Mapping[str, Any]:
        response = self._object("response")
        if self._response is None:
            self._check(isinstance(response.get("id"), str) and response["id"] != "", "has a response without an id")
            self._response = response
        # Without the model, which is known only once it has answered.
        for name in ("id", "object", "created_at"):
            self._same(f"response.{name}", response.get(name), self._response.get(name))
        return response

    def _again(self) -> None:
        """Check the first event after another process resumes the turn: no item is open, and no sent item is lost."""
        response = self._known_response()
        self._check(response.get("status") == "in_progress", f"has response.status {response.get('status')!r}")
        self._check(len(self._done) == len(self._items), "comes while items are open")
        done = [self._done[index]["id"] for index in sorted(self._done)]
        self._same("response.output", [item["id"] for item in response.get("output") or ()], done)

    def _snapshot(self, rule: Rule) -> None:
        if self._resumed and self._event["type"] == "response.in_progress" and rule.rank == self._last_snapshot:
            self._again()
            return
        self._check(rule.rank > self._last_snapshot, "is repeated or out of order")
        self._check(not self._items, "comes after the first output item")
        self._last_snapshot = rule.rank
        response = self._known_response()
        allowed = SNAPSHOT_STATUSES[self._event["type"]]
        self._check(response.get("status") in allowed, f"has response.status {response.get('status')!r}")
        self._check(not response.get("output"), "has output before any item was added")

    def _error(self, rule: Rule) -> None:
        self._fail("is a bare error: the server failed outside a response")

    def _terminal(self, rule: Rule) -> None:
        response = self._known_response()
        status = response.get("status")
        self._check(status in TERMINAL_STATUSES[self._event["type"]], f"has response.status {status!r}")
        # The SDK drops the output of a cancelled response, whatever the host has sent.
        if status != "cancelled":
            still_open = [f"{item.type} {index}" for index, item in enumerate(self._items) if index not in self._done]
            self._check(not still_open, f"comes while items are open: {', '.join(still_open)}")
            self._same("response.output", response.get("output"), [self._done[index] for index in sorted(self._done)])
        reason = fields_of(response.get("incomplete_details")).get("reason")
        error = fields_of(response.get("error"))
        self._check(status != "incomplete" or bool(reason), "has no incomplete_details.reason")
        self._check(status != "failed" or {"code", "message"} <= set(error), "has no error with a code and a message")
        self._check(status != "completed" or not (reason or error), "is completed, with an error or a reason")
        self._usage(response.get("usage"))
        self._ended = True

    def _usage(self, usage: Any) -> None:
        if usage is None:
            return
        for name in ("input_tokens", "output_tokens", "total_tokens"):
            self._check(_is_count(usage.get(name)), f"has usage.{name} {usage.get(name)!r}, expected a count")
        for name in ("input_tokens_details", "output_tokens_details"):
            details = fields_of(usage.get(name))
            self._check(all(map(_is_count, details.values())), f"has usage.{name} {details!r}, expected counts")

    def _item(self, rule: Rule) -> None:
        index, item = self._number("output_index"), self._object("item")
        if rule.edge == "open":
            self._same("output_index", index, len(self._items))
            self._check(isinstance(item.get("id"), str) and item["id"] not in self._ids, "has no id, or a used one")
            self._ids.add(item["id"])
            self._items.append(_Item(item["id"], item.get("type", ""), item))
            return
        opened = self._open_item()
        self._same("item.id", item.get("id"), opened.id)
        self._same("item.type", item.get("type"), opened.type)
        self._check(item.get("status") not in UNFINISHED, f"has item.status {item.get('status')!r}")
        for (channel, _), text in opened.texts.items():
            self._check(text.done, f"comes before the done event of {channel}")
        self._finished_lists(opened, item)
        self._finished_fields(opened, item)
        self._finished_steps(opened, item)
        self._done[index] = item

    def _finished_lists(self, opened: _Item, item: Mapping[str, Any]) -> None:
        for name in LISTS.get(opened.type, ()):
            index_field = next(index for index, of in LIST_OF.items() if of == name)
            parts = opened.parts.get(index_field, [])
            self._check(all(part.final is not None for part in parts), f"comes while a part of {name} is open")
            loose = [text for (channel, _), text in opened.texts.items() if channel == "reasoning_text"]
            if parts:
                self._same(f"item.{name}", item.get(name), [part.final for part in parts])
            elif name == "content" and loose:
                content = rows_of(item.get(name))
                found = [part.get("text") for part in content]
                self._same("the texts of item.content", found, [text.value for text in loose])
            else:
                self._same(f"item.{name}, never announced,", item.get(name) or [], opened.added.get(name) or [])

    def _finished_fields(self, opened: _Item, item: Mapping[str, Any]) -> None:
        if (name := OWN_FIELDS.get(opened.type)) is not None:
            streamed = opened.texts.get((name, 0))
            if streamed is None:
                self._same(f"item.{name}, never announced,", item.get(name) or "", opened.added.get(name) or "")
            else:
                self._same(f"item.{name}", item.get(name), streamed.value)
        commands = [text.value for (channel, _), text in opened.texts.items() if channel == "command"]
        if commands:
            action = fields_of(item.get("action"))
            self._same("item.action.commands", action.get("commands"), commands)

    def _finished_steps(self, opened: _Item, item: Mapping[str, Any]) -> None:
        step = opened.last_step
        if step is None or item.get("status") not in (None, "completed"):
            return
        last = max(rule.rank for rule in EVENTS.values() if rule.kind == "step" and rule.parents == step.parents)
        self._check(step.rank == last, f"comes after the step {step.channel!r}, before the last step")
        self._check(step.channel != "failed" or bool(item.get("error")), "is completed, after the step 'failed'")

    def _open_item(self) -> _Item:
        index = self._number("output_index")
        if not 0 <= index < len(self._items) or index in self._done:
            self._fail("names no open item")
        return self._items[index]

    def _parent(self, rule: Rule) -> _Item:
        item = self._open_item()
        if rule.has_item_id:
            self._same("item_id", self._event.get("item_id"), item.id)
        allowed = {parent.partition("/")[0] for parent in rule.parents}
        self._check(item.type in allowed, f"is inside an item of type {item.type!r}")
        return item

    def _part(self, rule: Rule) -> None:
        item, index, part = self._parent(rule), self._number(rule.index), self._object("part")
        parts = item.parts.setdefault(rule.index, [])
        kind = part.get("type", "")
        self._check(f"{item.type}/{kind}" in rule.parents, f"is a part of type {kind!r} in a {item.type}")
        if rule.edge == "open":
            self._same(rule.index, index, len(parts))
            self._check(all(other.final is not None for other in parts), "comes while another part is open")
            self._check(not part.get(FIELD_OF_PART[kind]), "has text already: text comes in deltas")
            self._check(not part.get("annotations"), "has annotations already: they come as events")
            parts.append(_Part(kind))
            return
        opened = self._open_part(item, rule, index)
        self._same("part.type", kind, opened.type)
        text = item.texts.get((kind, index))
        if text is None or not text.done:
            self._fail(f"comes before the done event of {kind}")
        self._same(f"part.{FIELD_OF_PART[kind]}", part.get(FIELD_OF_PART[kind]), text.value)
        self._same("part.annotations", part.get("annotations") or [], opened.notes)
        opened.final = part

    def _open_part(self, item: _Item, rule: Rule, index: int) -> _Part:
        part = item.part(rule, index)
        if part is None or part.final is not None:
            self._fail(f"names no open part ({rule.index} {index})")
        return part

    def _text(self, rule: Rule) -> None:
        item = self._parent(rule)
        index = self._number(rule.index) if rule.index else 0
        needs_part = all("/" in parent for parent in rule.parents)
        if needs_part or item.part(rule, index) is not None:
            part = self._open_part(item, rule, index)
            self._same("the type of its part", part.type, rule.channel)
        elif (rule.channel, index) not in item.texts:
            self._same(rule.index or "index", index, sum(channel == rule.channel for channel, _ in item.texts))
        text = item.texts.setdefault((rule.channel, index), _Text())
        self._check(not text.done, "comes after the done event of the same text")
        value = self._event.get("delta" if rule.edge == "delta" else rule.field)
        if not isinstance(value, str):
            self._fail("carries no text")
        if rule.edge == "done":
            self._same(rule.field, value, text.value)
            text.done = True
        else:
            text.value += value

    def _note(self, rule: Rule) -> None:
        item, index = self._parent(rule), self._number(rule.index)
        part = self._open_part(item, rule, index)
        self._check(f"{item.type}/{part.type}" in rule.parents, f"is inside a part of type {part.type!r}")
        self._same("annotation_index", self._event.get("annotation_index"), len(part.notes))
        part.notes.append(self._object("annotation"))

    def _step(self, rule: Rule) -> None:
        item = self._parent(rule)
        last = -1 if item.last_step is None else item.last_step.rank
        self._check(rule.rank > last, "is repeated, or goes back")
        item.last_step = rule

    def _image(self, rule: Rule) -> None:
        item = self._parent(rule)
        self._check(item.last_step is None or item.last_step.rank <= rule.rank, "comes after the image is completed")
        self._same("partial_image_index", self._event.get("partial_image_index"), item.images)
        item.images += 1

    def _loose(self, rule: Rule) -> None:
        if rule.parents:
            item = self._open_item()
            self._check(item.type in rule.parents, f"is inside an item of type {item.type!r}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
