"""Turns updates into events: each part is passed to its codec, which opens, extends and closes its item.

Items are kept by key, so concurrent agents or calls stay separate items. An item is closed when its codec decides that
the author's next part ends it. Pure: nothing here waits, stores or reads the request; effects are yielded between the
events.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from agent_framework import Content

from hostedagent.errors import foreign_attribute
from hostedagent.observability.metrics import count_left_out
from hostedagent.protocol.content import BY_CONTENT, COMPLETED, INCOMPLETE, Codec, End, OpenItem, Output, Part
from hostedagent.protocol.types import Emission

if TYPE_CHECKING:
    from agent_framework import AgentResponseUpdate, Content

    from hostedagent.protocol.content.codec import Key

logger = logging.getLogger(__name__)

_MERGEABLE = frozenset({"text", "text_reasoning"})
_CUT = ("length", "content_filter", "model_context_window_exceeded")
"""Finish reasons of a model call that was stopped early."""


class _Lane:
    """The open items of one author, in their order of opening."""

    __slots__ = ("begun", "groups", "items", "latest", "snapshots", "speaking")

    def __init__(self) -> None:
        self.items: dict[Key, OpenItem] = {}
        self.groups: dict[frozenset[str] | None, dict[Key, int]] = {}
        self.begun = 0
        self.latest: dict[str, Key] = {}
        self.snapshots: dict[str | None, Sequence[Content]] = {}
        self.speaking: tuple[str | None, OpenItem] | None = None
        """The id of the current message and its item, if that is the only open one."""

    def add(self, key: Key, item: OpenItem) -> None:
        self.items[key] = item
        self.speaking = None
        self.begun += 1
        self.groups.setdefault(item.outlasts, {})[key] = self.begun

    def remove(self, key: Key) -> None:
        item = self.items.pop(key)
        self.speaking = None
        del self.groups[item.outlasts][key]

    def ended_by(self, part: Part, key: Key) -> Sequence[Key]:
        """The items that `part`, with the key `key`, ends; oldest first."""
        kind, items = part.content.type, self.items
        ended = [
            (number, other)
            for outlasts, group in self.groups.items()
            if outlasts is not None and kind not in outlasts
            for other, number in group.items()
            if other != key and items[other].ends_before(part)
        ]
        return [other for _, other in sorted(ended)]


class Projection:
    """The open items of one response.

    Args:
        codecs: Content type to codec; the product's table unless a host adds rows.
    """

    def __init__(self, output: Output, codecs: Mapping[str, Codec] = BY_CONTENT) -> None:
        self._output = output
        self._codecs = codecs
        self._lanes: dict[str | None, _Lane] = {}
        self._ended: set[Key] = set()
        self._unnamed = count()

    def update(self, update: AgentResponseUpdate) -> Iterable[Emission]:
        """The events and effects of one update, in order; consume them before passing the next update."""
        author, contents = update.author_name or update.agent_id, update.contents
        lane = self._lanes.get(author) or self._lane(author)
        if len(contents) == 1 and update.finish_reason is None and update.merge_mode is None and not lane.snapshots:
            content = contents[0]  # Nearly every update takes this path: keep it short.
            part = Part(content, author, update.message_id, update.role or "assistant", content.merge_mode == "replace")
            if (speaking := lane.speaking) is not None and speaking[0] == part.message_id and _is_plain(part):
                return speaking[1].append(part)
            return self._add(part, lane)
        return self._update(update, author, lane)

    def _update(self, update: AgentResponseUpdate, author: str | None, lane: _Lane) -> Iterator[Emission]:
        message_id = update.message_id
        if update.merge_mode == "replace":
            yield from self._snapshot(update, author, lane)
        else:
            lane.snapshots.pop(message_id, None)
            for content in update.contents or left_out(update):
                replaces = content.merge_mode == "replace"
                yield from self._add(Part(content, author, message_id, update.role or "assistant", replaces), lane)
        if update.finish_reason is not None:
            yield from self._finish(lane, message_id, INCOMPLETE if update.finish_reason in _CUT else COMPLETED)

    def _snapshot(self, update: AgentResponseUpdate, author: str | None, lane: _Lane) -> Iterator[Emission]:
        """An update whose contents are snapshots of a whole message so far."""
        message_id = update.message_id
        earlier = lane.snapshots.pop(message_id, ())
        if not _grows(earlier, update.contents):
            earlier = ()
        positions = dict.fromkeys(_MERGEABLE, 0)
        for place, content in enumerate(update.contents or left_out(update)):
            position = positions.get(content.type)
            if position is not None:
                positions[content.type] += 1
            if place < len(earlier) and _same(earlier[place], content):
                continue  # An earlier snapshot had the same content, and other content may have been sent since.
            yield from self._add(Part(content, author, message_id, update.role or "assistant", True, position), lane)
        if update.finish_reason is None:
            lane.snapshots[message_id] = list(update.contents)

    def part(self, part: Part) -> Iterable[Emission]:
        """The events and effects of one part."""
        return self._add(part, self._lane(part.author))

    def _add(self, part: Part, lane: _Lane) -> Iterable[Emission]:
        codec = self._codecs.get(part.content.type)
        if codec is None:
            logger.warning("Dropped a content of the unknown type %r.", part.content.type)
            count_left_out("dropped", part.content.type)
            return ()
        if codec.effect is not None:
            return codec.effect(part)
        key, items = self._key(codec, part, lane), lane.items
        if codec.is_repeatable and len(items) == 1 and part.role != "tool" and (item := items.get(key)) is not None:
            if _is_plain(part):
                lane.speaking = (part.message_id, item)
            return item.append(part)  # Another part of an open item.
        return self._place(codec, key, part, lane)

    def _place(self, codec: Codec, key: Key, part: Part, lane: _Lane) -> Iterator[Emission]:
        """Close the items that the part ends, and open its own item if necessary."""
        if not codec.is_repeatable and key in self._ended:
            return
        item = lane.items.get(key)
        if item is None:
            # A tool's result may arrive without the author of the call.
            lane = next((other for other in self._lanes.values() if key in other.items), lane)
            item = lane.items.get(key)
        if part.role == "tool":
            yield from self._end_others(self._lanes.values(), key, part)
        elif item is None or len(lane.items) > 1:
            yield from self._end_others((lane,), key, part)
        if item is None:
            assert codec.open is not None, f"the {codec.family} codec neither opens items nor has effects"
            item = codec.open(part, self._output)
            lane.add(key, item)
            lane.latest[codec.family] = key
        yield from item.append(part)
        if item.is_closed:
            self._forget(lane, key)

    def _lane(self, author: str | None) -> _Lane:
        lane = self._lanes.get(author)
        if lane is None:
            if not isinstance(cast("object", author), str | None):
                raise TypeError(f"The author of an update is a text or None, not {type(author).__name__!r}.")
            lane = self._lanes[author] = _Lane()
        return lane

    def _key(self, codec: Codec, part: Part, lane: _Lane) -> Key:
        if codec.key is None:
            return (codec.family, str(next(self._unnamed)), "")
        key = codec.key(part)
        return key if key is not None else lane.latest.get(codec.family, (codec.family,))

    def _end_others(self, lanes: Iterable[_Lane], key: Key, part: Part) -> Iterator[Emission]:
        """Close the items that `part` ends: those of its author, and the call that a tool result answers."""
        for lane in lanes:
            for other in lane.ended_by(part, key):
                yield from self._end(lane, other, End(before=part))

    def _finish(self, lane: _Lane, message_id: str | None, end: End) -> Iterator[Emission]:
        for key, item in list(lane.items.items()):
            if item.ends_at_finish(message_id):
                yield from self._end(lane, key, end)
            else:
                yield from item.finish_model_call(message_id, end)

    def _end(self, lane: _Lane, key: Key, end: End) -> Iterator[Emission]:
        yield from lane.items[key].close(end)
        self._forget(lane, key)  # Not before: an item that cannot be written is closed again, with what was sent.

    def _forget(self, lane: _Lane, key: Key) -> None:
        if key[-1]:
            self._ended.add(key)
        lane.remove(key)

    def close(self, end: End = COMPLETED) -> Iterator[Emission]:
        """End every open item, oldest first, before the terminal event.

        Raises:
            Exception: An item could not be written. All others are ended; it is still open.
        """
        error: Exception | None = None
        for lane in self._lanes.values():
            for key in list(lane.items):
                try:
                    yield from self._end(lane, key, end)
                except Exception as raised:  # noqa: BLE001 - raised below
                    error = error or raised
        yield from self._output.keep_hidden()
        if error is not None:
            raise error


def _is_plain(part: Part) -> bool:
    """Whether a part is text identified by its message alone."""
    return part.content.type == "text" and part.content.raw_representation is None and part.role not in ("tool", "user")


def _grows(earlier: Sequence[Content], later: Sequence[Content]) -> bool:
    """Whether a snapshot continues the one before it, rather than starting the next message."""
    return bool(earlier) and len(later) >= len(earlier) and all(map(_continues, earlier, later))


def _continues(earlier: Content, later: Content) -> bool:
    if earlier.type not in _MERGEABLE:
        return _same(earlier, later)
    return earlier.type == later.type and (later.text or "").startswith(earlier.text or "")


def _same(earlier: Content, later: Content) -> bool:
    return earlier.type == later.type and earlier.to_dict() == later.to_dict()


# OpenAI's client reads a code interpreter call when it starts, without outputs, and not when it is done.
# Can go when it reads `response.output_item.done` of such a call (no issue of it is known upstream).
def left_out(update: AgentResponseUpdate) -> Sequence[Content]:
    """The contents that an empty update should have had."""
    raw = update.raw_representation
    event = foreign_attribute(raw, "raw_representation") or raw
    if not _is(foreign_attribute(event, "type"), "response.output_item.done"):
        return ()
    item = cast("Any", foreign_attribute(event, "item"))
    if not _is(foreign_attribute(item, "type"), "code_interpreter_call") or not foreign_attribute(item, "outputs"):
        return ()
    try:
        outputs = [
            Content.from_text(row.logs) if row.type == "logs" else Content.from_uri(row.url, media_type="image/*")
            for row in item.outputs
        ]
        result = Content.from_code_interpreter_tool_result(
            call_id=item.id, outputs=outputs, status=item.status, raw_representation=item
        )
    except Exception:  # noqa: BLE001 - not such a call, whatever its type
        return ()
    return (result,)


def _is(value: object, text: str) -> bool:
    return isinstance(value, str) and value == text
