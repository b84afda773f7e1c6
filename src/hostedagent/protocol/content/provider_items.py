"""A provider's own item and id behind a content: it must get both back unchanged."""

from __future__ import annotations

from collections.abc import Mapping

from agent_framework import Content
from pydantic import BaseModel

from hostedagent.protocol.content.codec import recall
from hostedagent.protocol.types import Item, Json
from hostedagent.protocol.values import is_object

_UNKNOWN: Mapping[str, Json] = {}


def provider_item(content: Content, *types: str) -> Mapping[str, Json]:
    """The provider's item behind a content, if its type is one of `types`; empty otherwise."""
    raw: object = content.raw_representation
    if isinstance(raw, BaseModel):
        raw = _dumped(raw)
    item = raw if is_object(raw) else _UNKNOWN
    kind: object = item.get("type")
    return item if isinstance(kind, str) and kind in types else _UNKNOWN


def _dumped(raw: BaseModel) -> object:
    """A pydantic model as a mapping; empty if dumping fails, as it can with fields of foreign types."""
    try:
        return raw.model_dump(mode="json", exclude_none=True)
    except Exception:  # noqa: BLE001 - the content is complete without it
        return None


def provider_id(item: Item) -> str | None:
    """The provider's id of a stored item; `None` for an item that a caller sent."""
    known = recall(item).get("provider_id")
    return known if isinstance(known, str) and known else None


def call_status(status: object) -> str:
    """The status of a call that arrived whole."""
    return "incomplete" if status == "incomplete" else "completed"
