"""Reasoning of a model, as a summary, as raw text, or encrypted.

Each reasoning id of the provider becomes one item with any number of parts. A snapshot seals a part and the next delta
starts another, as in messages. The encrypted form may arrive before, after or without text; the last one counts. A
provider without ids signs each item, so text after a signature starts the next item.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, cast
from urllib.parse import quote, unquote

from agent_framework import Content, get_namespaced_value

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.content.calls import read_list, read_text
from hostedagent.protocol.content.codec import (
    COMPLETED,
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
from hostedagent.protocol.types import Emission, Event, Item, Json, MutableItem
from hostedagent.protocol.values import fields_of
from hostedagent.protocol.wire import wire_text

_PartKind = Literal["summary_text", "reasoning_text"]
_LIST: Final[dict[_PartKind, str]] = {"summary_text": "summary", "reasoning_text": "content"}
_INDEX: Final[dict[_PartKind, str]] = {"summary_text": "summary_index", "reasoning_text": "content_index"}
_PART_EVENT: Final[dict[_PartKind, str]] = {
    "summary_text": "response.reasoning_summary_part",
    "reasoning_text": "response.content_part",
}
_TEXT_EVENT: Final[dict[_PartKind, str]] = {
    "summary_text": "response.reasoning_summary_text",
    "reasoning_text": "response.reasoning_text",
}
_RAW_TEXT: Final = {"openai": {"reasoning_text": True}}


_SEAL: Final = "hostedagent:"
"""Prefix of an encrypted form that carries the provider's item id."""


def seal(encrypted: str, provider_id: str | None) -> str:
    """The encrypted form as clients get it: with the provider's id, without which the provider rejects it.

    The item id on the wire is the host's own, and clients with `store=false` strip it.
    """
    return f"{_SEAL}{quote(wire_text(provider_id or ''), safe='')}:{encrypted}"


def unseal(encrypted: str) -> tuple[str, str | None] | None:
    """The provider's encrypted form and id; `None` if this host did not seal it."""
    if not encrypted.startswith(_SEAL):
        return None
    provider_id, _, form = encrypted[len(_SEAL) :].partition(":")
    return form, unquote(provider_id) or None


def read(item: Item) -> Sequence[Content]:
    """Read a `reasoning` item: its summary, then its raw text; the last content carries the encrypted form.

    Reasoning of a caller without an encrypted form is dropped: a provider accepts only reasoning that it can verify.
    """
    memory = recall(item)
    ident, encrypted = read_text(item, "id"), read_text(item, "encrypted_content")
    is_ours = "provider_id" in memory
    if encrypted and (sealed := unseal(encrypted)) is not None:
        encrypted, ident = sealed
    elif is_ours:
        ident = memory["provider_id"]
    elif not encrypted or not ident:
        _check(item)
        return []
    texts = [(text, None) for text in _texts(item, "summary_text")]
    texts += [(text, _RAW_TEXT) for text in _texts(item, "reasoning_text")]
    last = max(len(texts) - 1, 0)
    return [
        Content.from_text_reasoning(
            id=ident,
            text=text,
            protected_data=encrypted if n == last else None,
            additional_properties=cast("dict[str, Json]", dict(properties)) if properties else None,
        )
        for n, (text, properties) in enumerate(texts or [("", None)])
    ]


def _texts(item: Item, kind: _PartKind) -> Iterator[str]:
    name = _LIST[kind]
    for n, part in enumerate(read_list(item, name) or ()):
        text = fields_of(part).get("text")
        if not isinstance(text, str):
            raise InvalidRequest(f"{name}[{n}] must be an object with a text.", param=f"{name}[{n}].text")
        yield text


def _check(item: Item) -> None:
    for kind in _LIST:
        for _ in _texts(item, kind):
            pass


def key(part: Part) -> Key:
    """Items are distinguished by author and provider id."""
    return ("reasoning", part.author or "", part.content.id or "")


def _wire(part: GrowingPart[_PartKind]) -> MutableItem:
    return {"type": part.kind, "text": part.text()}


class OpenReasoning(OpenItem):
    """A reasoning item in progress."""

    def __init__(self, part: Part, output: Output) -> None:
        super().__init__(part, output)
        self._done: dict[_PartKind, list[MutableItem]] = {"summary_text": [], "reasoning_text": []}
        self._part: GrowingPart[_PartKind] | None = None
        self._encrypted: str | None = None
        self._base = part.position or 0

    def append(self, part: Part) -> Iterator[Emission]:
        """Take a delta, a snapshot, or the encrypted form."""
        content = part.content
        if content.text:
            if self._encrypted and not content.id and not part.replaces:
                yield from self._restart()
            kind: _PartKind = "reasoning_text" if _is_raw(content) else "summary_text"
            place = self._base + sum(map(len, self._done.values()))
            text = missing_text(part, kind, self._part, place) if part.replaces else content.text
            if text:
                yield from self._begin(kind)
                assert self._part is not None
                if text := self._part.characters.take(text):
                    yield self._delta(text)
            if part.replaces and self._part is not None:
                self._part.is_sealed = True
        if content.protected_data:
            self._encrypted = wire_text(content.protected_data)
            yield from self._open()

    def _open(self) -> Iterator[Event]:
        if self.item is None:
            self.item = self.output.item("rs", self.first)
            self.item.remember(provider_id=self.first.content.id or None)
            yield self.item.added({"type": "reasoning", "summary": [], "status": "in_progress"})

    def _begin(self, kind: _PartKind) -> Iterator[Event]:
        """Ensure that an unsealed part of this kind is open."""
        if self._part is not None and not self._part.is_sealed and self._part.kind == kind:
            return
        yield from self._end_part()
        yield from self._open()
        self._part = GrowingPart(kind, len(self._done[kind]))
        yield self._event(f"{_PART_EVENT[kind]}.added", part=_wire(self._part))

    def _delta(self, text: str) -> Event:
        assert self._part is not None
        self._part.chunks.append(text)
        return self._event(f"{_TEXT_EVENT[self._part.kind]}.delta", delta=text)

    def _event(self, event_type: str, **fields: Json) -> Event:
        assert self._part is not None
        return self.opened.event(event_type, **{_INDEX[self._part.kind]: self._part.index}, **fields)

    def _end_part(self) -> Iterator[Event]:
        part = self._part
        if part is None:
            return
        if rest := part.characters.rest():
            yield self._delta(rest)
        yield self._event(f"{_TEXT_EVENT[part.kind]}.done", text=part.text())
        yield self._event(f"{_PART_EVENT[part.kind]}.done", part=_wire(part))
        self._done[part.kind].append(_wire(part))
        self._part = None

    def _restart(self) -> Iterator[Emission]:
        yield from self.close(COMPLETED)
        self.item, self._encrypted = None, None
        self._done = {"summary_text": [], "reasoning_text": []}

    def close(self, end: End) -> Iterable[Emission]:
        """End the part and the item, if it ever had content."""
        yield from self._end_part()
        if self.item is None:
            return
        item: MutableItem = {"type": "reasoning", "summary": self._done["summary_text"]}
        if self._done["reasoning_text"]:
            item["content"] = self._done["reasoning_text"]
        if self._encrypted:
            item["encrypted_content"] = seal(self._encrypted, self.first.content.id)
        yield self.item.done({**item, "status": end.status})


def _is_raw(content: Content) -> bool:
    properties = content.additional_properties
    if not properties:
        return False
    # Before Agent Framework had namespaces, the marker was a property of its own; text in it is not a marker.
    return (get_namespaced_value(properties, "openai", "reasoning_text") or properties.get("reasoning_text")) is True


REASONING = Codec(
    family="reasoning",
    content_types=("text_reasoning",),
    item_types={"reasoning": "assistant"},
    read=read,
    open=OpenReasoning,
    key=key,
    limits=(
        "A reasoning item that has neither text nor an encrypted form is not sent.",
        "`encrypted_content` includes the provider's own id of the item, so that a caller can send reasoning back with "
        "this host's id or without an id. Only this host can use it; the provider cannot read it directly.",
        "If an agent changes between OpenAI's Responses API, Chat Completions and Anthropic, the encrypted reasoning "
        "of the earlier service is left out. Between models of one service it is sent, and the service may refuse it.",
        "Reasoning that a caller sends without `encrypted_content`, or with that of another service and no id, is "
        "accepted but not passed to the model.",
    ),
)
