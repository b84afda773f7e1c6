"""State stores: named sets of items with ETags and a time to live; pure, with the clock given from outside.

Stores belong to the agent, not to a user. The items of a store with `user_isolation` belong to one user each; the
others are shared by all. Time to live counts from the last write, reading does not prolong it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from .reading import JsonObject, Paging, as_name, as_object, as_tags, envelope, page_of
from .refusal import Refusal, bad_request, conflict, not_found

MAX_VALUE_BYTES = 1024 * 1024
DEFAULT_TTL_SECONDS = 30 * 24 * 60 * 60
NEVER = -1


@dataclass(slots=True)
class _Item:
    id: str
    key: str
    value: JsonObject
    tags: dict[str, str]
    etag: str
    created_at: int
    updated_at: int
    expires_at: float | None

    @property
    def reference(self) -> JsonObject:
        return {
            "id": self.id,
            "object": "state_store.item",
            "key": self.key,
            "etag": self.etag,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }

    @property
    def listed(self) -> JsonObject:
        return {**self.reference, "tags": self.tags or None}

    @property
    def document(self) -> JsonObject:
        return {**self.listed, "value": self.value}


@dataclass(slots=True)
class _Store:
    document: JsonObject
    ttl: int
    isolated: bool
    partitions: dict[str | None, dict[str, _Item]] = field(default_factory=dict[str | None, dict[str, _Item]])


class StateStorage:
    """All state stores; `clock` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._numbers = count(1)
        self._stores: dict[str, _Store] = {}

    def create_store(self, body: JsonObject) -> JsonObject:
        """Make a store from `{"name", "user_isolation"?, "item_ttl_seconds"?, "description"?, "tags"?}`."""
        name = as_name(body.get("name"), "name")
        isolated = body.get("user_isolation") or False
        if not isinstance(isolated, bool):
            raise bad_request("user_isolation must be a boolean.", "user_isolation")
        ttl, tags, description = _ttl_of(body), as_tags(body.get("tags")), _description_of(body)
        if name in self._stores:
            raise conflict(f"State store '{name}' already exists.")
        now = int(self._clock())
        document: JsonObject = {
            "id": self._new_id("ss"),
            "object": "state_store",
            "name": name,
            "user_isolation": isolated,
            "item_ttl_seconds": ttl,
            "description": description,
            "tags": tags,
            "created_at": now,
            "updated_at": now,
        }
        self._stores[name] = _Store(document, ttl, isolated)
        return document

    def get_store(self, name: str) -> JsonObject:
        """The description of a store."""
        return self._find(name).document

    def update_store(self, name: str, body: JsonObject) -> JsonObject:
        """Change `description` and `tags`: an absent field stays, null clears."""
        store = self._find(name)
        changes: JsonObject = {}
        if "description" in body:
            changes["description"] = _description_of(body)
        if "tags" in body:
            changes["tags"] = as_tags(body["tags"])
        store.document = {**store.document, **changes, "updated_at": int(self._clock())}
        return store.document

    def delete_store(self, name: str) -> JsonObject:
        """Forget a store and its items, also when there is none."""
        store = self._stores.pop(name, None)
        store_id = store.document["id"] if store else None
        return {"id": store_id, "object": "state_store", "name": name, "deleted": True}

    def create_item(self, name: str, user: str | None, body: JsonObject) -> JsonObject:
        """Store a new item from `{"key", "value", "tags"?}`."""
        key, value, tags = as_name(body.get("key"), "key"), _value_of(body), as_tags(body.get("tags"))
        store = self._find(name)
        if key in self._items(store, user):
            raise conflict(f"State store item '{key}' already exists.")
        return self._write(store, user, key, value, tags)

    def set_item(
        self, name: str, user: str | None, key: str, body: JsonObject, *, if_match: str | None = None
    ) -> JsonObject:
        """Write an item from `{"value", "tags"?}`; tags that are not given are cleared."""
        value, tags = _value_of(body), as_tags(body.get("tags"))
        store = self._find(name)
        _check(key, self._items(store, user).get(key), if_match)
        return self._write(store, user, key, value, tags)

    def get_item(self, name: str, user: str | None, key: str) -> JsonObject:
        """An item with its value."""
        item = self._items(self._find(name), user).get(key)
        if item is None:
            raise not_found(f"State store item '{key}' not found.")
        return item.document

    def delete_item(self, name: str, user: str | None, key: str, *, if_match: str | None = None) -> JsonObject:
        """Forget an item, also when there is none."""
        items = self._items(self._find(name), user)
        _check(key, items.get(key), if_match)
        item = items.pop(key, None)
        return {"id": item.id if item else None, "object": "state_store.item", "key": key, "deleted": True}

    def list_keys(self, name: str, user: str | None, paging: Paging, *, tags: dict[str, str]) -> JsonObject:
        """A page of the items without their values, in the order they were made."""
        items = self._items(self._find(name), user).values()
        wanted = [item for item in items if tags.items() <= item.tags.items()]
        data, has_more = page_of(wanted, paging, id_of=lambda item: item.id)
        return envelope([item.listed for item in data], has_more=has_more)

    def _find(self, name: str) -> _Store:
        store = self._stores.get(name)
        if store is None:
            raise not_found(f"State store '{name}' not found.")
        return store

    def _items(self, store: _Store, user: str | None) -> dict[str, _Item]:
        items = store.partitions.setdefault(user if store.isolated else None, {})
        now = self._clock()
        for key in [key for key, item in items.items() if item.expires_at is not None and item.expires_at <= now]:
            del items[key]
        return items

    def _write(self, store: _Store, user: str | None, key: str, value: JsonObject, tags: dict[str, str]) -> JsonObject:
        items, now = self._items(store, user), self._clock()
        current = items.get(key)
        item = _Item(
            id=current.id if current else self._new_id("it"),
            key=key,
            value=value,
            tags=tags,
            etag=f'"{next(self._numbers):016x}"',
            created_at=current.created_at if current else int(now),
            updated_at=int(now),
            expires_at=None if store.ttl == NEVER else now + store.ttl,
        )
        items[key] = item
        return item.reference

    def _new_id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers):024x}"


def _check(key: str, current: _Item | None, if_match: str | None) -> None:
    if if_match is None:
        return
    if current is None:
        raise Refusal(412, "precondition_failed", f"State store item '{key}' does not exist.")
    if if_match not in ("*", current.etag):
        raise Refusal(
            412,
            "precondition_failed",
            f"State store item '{key}' was changed since it was read.",
            headers={"ETag": current.etag},
        )


def _value_of(body: JsonObject) -> JsonObject:
    value = as_object(body.get("value"), "value")
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass"))
    if size > MAX_VALUE_BYTES:
        raise bad_request(f"value must have at most {MAX_VALUE_BYTES} bytes, it has {size}.", "value")
    return value


def _description_of(body: JsonObject) -> str | None:
    description = body.get("description")
    if description is not None and not isinstance(description, str):
        raise bad_request("description must be a string.", "description")
    return description


def _ttl_of(body: JsonObject) -> int:
    ttl = body.get("item_ttl_seconds", DEFAULT_TTL_SECONDS)
    if not isinstance(ttl, int) or isinstance(ttl, bool) or (ttl < 1 and ttl != NEVER):
        raise bad_request("item_ttl_seconds must be a positive number of seconds, or -1.", "item_ttl_seconds")
    return ttl
