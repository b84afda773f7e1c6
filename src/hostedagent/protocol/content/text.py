"""Text of an agent, with citations and refusals.

A message item may have several content parts. A snapshot (`replaces`) emits the text that is still missing and seals
the part; later text starts the next part. Citations may arrive with an empty text after the seal, so a part is done
only when the next one starts or the message closes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

from agent_framework import Annotation, Content, get_namespaced_value

from hostedagent.errors import foreign_attribute
from hostedagent.protocol.content.annotations import WireAnnotation, wire_annotations
from hostedagent.protocol.content.codec import (
    Codec,
    End,
    GrowingPart,
    Key,
    OpenItem,
    Output,
    Part,
    missing_text,
    recall,
)
from hostedagent.protocol.content.filenames import filename
from hostedagent.protocol.content.parts import read_parts
from hostedagent.protocol.types import Emission, Event, Item, Json, MutableItem
from hostedagent.protocol.wire import wire_text, wire_value

_PartKind = Literal["output_text", "refusal"]
_FIELD: Final[dict[_PartKind, str]] = {"output_text": "text", "refusal": "refusal"}


def read(item: Item) -> Sequence[Content]:
    """Read a `message`; its role and author are read where the Agent Framework message is built."""
    if isinstance(instead := recall(item).get("stands_for"), str):
        return [Content.from_text(instead)]
    contents = read_parts(item.get("content"), "content")
    if item.get("role") != "assistant":
        return contents
    return [content if content.type == "text" else _named(content) for content in contents]


def _named(content: Content) -> Content:
    """The file of an assistant message as text, because model providers accept no files there."""
    return Content.from_text(f"[{content.file_id or filename(content)}]")


def key(part: Part) -> Key:
    """Messages are distinguished by author and by the provider's id of the item, else of the message."""
    family = "input" if part.role == "user" else "text"
    return (family, part.author or "", _item_id(part.content) or part.message_id or "")


# OpenAI's client puts several messages of one answer into one, and leaves their ids in its events only.
# Can go when it sets a message id (no issue of it is known upstream).
def _item_id(content: Content) -> str:
    if (raw := content.raw_representation) is None:
        return ""
    ident = foreign_attribute(raw, "item_id")
    if ident is None and not content.text:  # Late citations arrive with the whole item.
        ident = foreign_attribute(foreign_attribute(raw, "item"), "id")
    return ident if isinstance(ident, str) else ""


class OpenInput(OpenItem):
    """A text that the agent gives its model as the user's, such as the nudge of a loop: later turns read it there.

    It comes whole, and is kept with the next item, where no client sees it.
    """

    def append(self, part: Part) -> Iterable[Emission]:
        """Keep the text."""
        self.is_closed = True
        if said := wire_text(part.content.text or ""):
            text: MutableItem = {"type": "input_text", "text": said}
            item: MutableItem = {"type": "message", "role": "user", "status": "completed", "content": [text]}
            self.output.response.hide(self.output.new_id("msg"), None, item)
        return ()


def open_text(part: Part, output: Output) -> OpenItem:
    """Open a message, or what an agent says to itself in the user's name."""
    return OpenInput(part, output) if part.role == "user" else OpenText(part, output)


class _TextPart(GrowingPart[_PartKind]):
    __slots__ = ("annotations", "length", "logprobs")

    def __init__(self, kind: _PartKind, index: int) -> None:
        super().__init__(kind, index)
        self.length = 0
        self.annotations: list[WireAnnotation] = []
        self.logprobs: list[Json] = []

    def wire(self, text: str) -> MutableItem:
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": text}
        return {
            "type": "output_text",
            "text": text,
            "annotations": list(self.annotations),
            "logprobs": list(self.logprobs),
        }


class OpenText(OpenItem):
    """A message item in progress."""

    def __init__(self, part: Part, output: Output) -> None:
        super().__init__(part, output)
        self._done: list[MutableItem] = []
        self._part: _TextPart | None = None
        self._base = part.position or 0

    def ends_before(self, part: Part) -> bool:
        """Any other content of the author ends the message, and so does text of the next message."""
        is_same = part.content.type == "text" and _item_id(part.content) in ("", _item_id(self.first.content))
        return (not is_same or part.role == "user") and super().ends_before(part)

    def append(self, part: Part) -> Iterable[Emission]:
        """Take a delta, a snapshot, or late citations."""
        content = part.content
        current = self._part
        if current is not None and not part.replaces and not content.additional_properties and not content.annotations:
            if content.text and not current.is_sealed and current.kind == "output_text":
                text = current.characters.take(content.text)  # Nearly every event takes this path: keep it short.
                return (self._delta(current, text, None),) if text else ()
            if not content.text:
                return ()
        return self._append(part)

    def _append(self, part: Part) -> Iterator[Emission]:
        content = part.content
        kind: _PartKind = "refusal" if _is_refusal(content) else "output_text"
        place = self._base + len(self._done)
        text = missing_text(part, kind, self._part, place) if part.replaces else content.text or ""
        if text:
            yield from self._begin(kind)
            assert self._part is not None
            logprobs = get_namespaced_value(content.additional_properties, "openai", "logprobs")
            if text := self._part.characters.take(text):
                yield self._delta(self._part, text, logprobs)
        if content.annotations and kind == "output_text":
            yield from self._begin_for_annotations(kind)
            yield from self._annotate(content.annotations)
        if part.replaces and self._part is not None:
            self._part.is_sealed = True

    def _begin(self, kind: _PartKind) -> list[Event]:
        """Ensure that an unsealed part of this kind is open."""
        if self._part is not None and not self._part.is_sealed and self._part.kind == kind:
            return []
        events = self._end_part()
        if self.item is None:
            self.item = self.output.item("msg", self.first)
            events.append(self.item.added(_message([], "in_progress")))
        self._part = _TextPart(kind, len(self._done))
        empty: MutableItem = {"type": kind, _FIELD[kind]: ""}
        if kind == "output_text":
            empty["annotations"], empty["logprobs"] = [], []
        events.append(self.item.event("response.content_part.added", content_index=self._part.index, part=empty))
        return events

    def _begin_for_annotations(self, kind: _PartKind) -> list[Event]:
        """Citations may follow a sealed part, but not a refusal."""
        return self._begin(kind) if self._part is None or self._part.kind != kind else []

    def _delta(self, current: _TextPart, text: str, logprobs: list[Json] | None) -> Event:
        current.chunks.append(text)
        current.length += len(text)
        item = self.item
        assert item is not None
        event: Event = {
            "type": "response.output_text.delta" if current.kind == "output_text" else "response.refusal.delta",
            "item_id": item.id,
            "output_index": item.index,
            "content_index": current.index,
            "delta": text,
        }
        if current.kind == "output_text":
            found: list[Json] = wire_value(list(logprobs)) if logprobs else []
            event["logprobs"] = found
            current.logprobs.extend(found)
        return event

    def _annotate(self, annotations: Sequence[Annotation]) -> Iterator[Event]:
        part, item = self._part, self.item
        assert part is not None and item is not None
        for annotation in wire_annotations(annotations, part.length):
            yield item.event(
                "response.output_text.annotation.added",
                content_index=part.index,
                annotation_index=len(part.annotations),
                annotation=annotation,
            )
            part.annotations.append(annotation)

    def _end_part(self) -> list[Event]:
        part, item = self._part, self.item
        if part is None or item is None:
            return []
        rest = part.characters.rest()
        events = [self._delta(part, rest, None)] if rest else []
        text, place = part.text(), part.index
        if part.kind == "refusal":
            events.append(item.event("response.refusal.done", content_index=place, refusal=text))
        else:
            logprobs = list(part.logprobs)
            events.append(item.event("response.output_text.done", content_index=place, text=text, logprobs=logprobs))
        whole = part.wire(text)
        events.append(item.event("response.content_part.done", content_index=place, part=whole))
        self._done.append(whole)
        self._part = None
        return events

    def close(self, end: End) -> Iterable[Emission]:
        """End the part and the message; a message without content has no item."""
        events = self._end_part()
        if self.item is not None:
            events.append(self.item.done(_message(self._done, end.status)))
        return events


def _message(content: list[MutableItem], status: str) -> MutableItem:
    return {"type": "message", "role": "assistant", "status": status, "content": content}


def _is_refusal(content: Content) -> bool:
    if not content.additional_properties:
        return False
    kind = get_namespaced_value(content.additional_properties, "core", "model_output_kind")
    return (kind or content.additional_properties.get("model_output_kind")) == "refusal"


TEXT = Codec(
    family="text",
    content_types=("text",),
    item_types={"message": "own", "output_message": "own"},
    read=read,
    open=open_text,
    key=key,
    is_repeatable=True,
)
