"""Parses requests: JSON bodies, tags, pages. A malformed value is refused with the name of its field."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar, cast

from hostedagent.protocol.values import is_array, is_object

from .refusal import bad_request

JsonObject: TypeAlias = dict[str, object]

MAX_NAME = 128
MAX_TAGS = 16
MAX_PAGE = 100
DEFAULT_PAGE = 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """The requested part of a list; the cursors are ids of its entries, not keys."""

    limit: int = DEFAULT_PAGE
    after: str | None = None
    before: str | None = None
    order: Literal["asc", "desc"] = "desc"


def parse_object(raw: bytes) -> JsonObject:
    """Parse a body that must be a JSON object."""
    try:
        body: object = json.loads(raw)
    except ValueError:
        raise bad_request("The request body is not valid JSON.") from None
    return as_object(body, "body")


def as_object(value: object, param: str) -> JsonObject:
    """Take a value that must be a JSON object."""
    if not is_object(value):
        raise bad_request(f"{param} must be a JSON object.", param)
    return value


def as_objects(value: object, param: str) -> list[JsonObject]:
    """Take a value that must be an array of objects; absent is empty."""
    return [as_object(entry, param) for entry in _as_list(value, param)]


def as_texts(value: object, param: str) -> list[str]:
    """Take a value that must be an array of strings; absent is empty."""
    return [as_text(entry, param) for entry in _as_list(value, param)]


def as_text(value: object, param: str) -> str:
    """Take a value that must be a non-empty string."""
    if not isinstance(value, str) or not value:
        raise bad_request(f"{param} must be a non-empty string.", param)
    return value


def as_name(value: object, param: str) -> str:
    """Take the name of a store or the key of an item."""
    name = as_text(value, param)
    if len(name) > MAX_NAME:
        raise bad_request(f"{param} must have at most {MAX_NAME} characters, it has {len(name)}.", param)
    return name


def as_tags(value: object) -> dict[str, str]:
    """Take tags: absent is empty."""
    if value is None:
        return {}
    tags = as_object(value, "tags")
    if len(tags) > MAX_TAGS:
        raise bad_request(f"tags must have at most {MAX_TAGS} entries, it has {len(tags)}.", "tags")
    if not all(isinstance(text, str) for text in tags.values()):
        raise bad_request("tags must map strings to strings.", "tags")
    return cast("dict[str, str]", tags)


def name_from_segment(segment: str, param: str) -> str:
    """Read a name or key out of a path: base64url of UTF-8 without padding."""
    try:
        raw = base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)
        return as_name(raw.decode(), param)
    except ValueError:
        raise bad_request(f"{param} in the path is not base64url of UTF-8.", param) from None


def read_paging(query: Mapping[str, str]) -> Paging:
    """Read `limit`, `after`, `before` and `order`."""
    after, before, order = query.get("after"), query.get("before"), query.get("order", "desc")
    if after is not None and before is not None:
        raise bad_request("after and before are mutually exclusive.", "after")
    if order not in ("asc", "desc"):
        raise bad_request(f"order must be asc or desc, it is {order!r}.", "order")
    limit = read_number(query, "limit", DEFAULT_PAGE)
    if not 1 <= limit <= MAX_PAGE:
        raise bad_request(f"limit must be between 1 and {MAX_PAGE}, it is {limit}.", "limit")
    return Paging(limit=limit, after=after, before=before, order=order)


def read_number(query: Mapping[str, str], param: str, default: int) -> int:
    """Read a whole number of the query."""
    try:
        return int(query.get(param, default))
    except ValueError:
        raise bad_request(f"{param} must be a whole number.", param) from None


def page_of(oldest_first: Sequence[T], paging: Paging, *, id_of: Callable[[T], str]) -> tuple[list[T], bool]:
    """Cut one page out of a list and say whether more follows it.

    Both cursors count in the order asked for, and a page starts at its beginning or after `after`, as in the SDK's
    local stores. An unknown cursor gives an empty page.
    """
    ordered = list(oldest_first if paging.order == "asc" else reversed(oldest_first))
    cursor = paging.before if paging.after is None else paging.after
    if cursor is not None:
        place = next((index for index, entry in enumerate(ordered) if id_of(entry) == cursor), None)
        if place is None:
            return [], False
        ordered = ordered[:place] if paging.after is None else ordered[place + 1 :]
    return ordered[: paging.limit], len(ordered) > paging.limit


def envelope(data: Sequence[JsonObject], *, has_more: bool) -> JsonObject:
    """The list envelope of the service."""
    return {
        "object": "list",
        "data": list(data),
        "first_id": data[0].get("id") if data else None,
        "last_id": data[-1].get("id") if data else None,
        "has_more": has_more,
    }


def _as_list(value: object, param: str) -> list[object]:
    if value is None:
        return []
    if not is_array(value):
        raise bad_request(f"{param} must be an array.", param)
    return value
