"""Items that a provider sends whole and must get back unchanged, with its own id."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import cast

from agent_framework import Content
from pydantic import BaseModel

from hostedagent.protocol.content.codec import OpenItem, Output, Part, WholeItem, recall
from hostedagent.protocol.types import Emission, Item, Json, MutableItem

_UNKNOWN: Mapping[str, Json] = {}


def provider_item(content: Content, *types: str) -> Mapping[str, Json]:
    """The provider's item behind a content, if its type is one of `types`; empty otherwise."""
    raw: object = content.raw_representation
    if isinstance(raw, BaseModel):
        raw = _dumped(raw)
    if not isinstance(raw, dict):
        return _UNKNOWN
    item = cast("dict[str, Json]", raw)
    kind: object = item.get("type")
    return item if isinstance(kind, str) and kind in types else _UNKNOWN


def _dumped(raw: BaseModel) -> object:
    """A pydantic model as a mapping; empty if dumping fails, as it can with fields of foreign types."""
    try:
        return raw.model_dump(mode="json", exclude_none=True)
    except Exception:  # noqa: BLE001 - the content is complete without it
        return None


class _ProviderItem(WholeItem):
    def append(self, part: Part) -> Iterator[Emission]:
        """Emit the item, and keep the provider's id with it."""
        item = self._write(part)
        opened = self.output.item(self._prefix, part)
        if item.get("id"):
            opened.remember(provider_id=item["id"])
        yield opened.added(dict(item, status="in_progress"))
        yield opened.done(item)
        self.is_closed = True


def whole_from_provider(prefix: str, write: Callable[[Part], MutableItem]) -> Callable[[Part, Output], OpenItem]:
    """Like `whole`, but the `id` that `write` sets is the provider's id, which is stored and not sent."""

    def open_item(part: Part, output: Output) -> OpenItem:
        return _ProviderItem(prefix, write, part, output)

    return open_item


def provider_id(item: Item) -> str | None:
    """The provider's id of a stored item; `None` for an item that a caller sent."""
    known = recall(item).get("provider_id")
    return known if isinstance(known, str) and known else None


def call_status(status: object) -> str:
    """The status of a call that arrived whole."""
    return "incomplete" if status == "incomplete" else "completed"
