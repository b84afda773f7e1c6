"""The table of the storage API: name, method, path below `storage/`, and the function that serves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .reading import as_tags, name_from_segment, parse_object, read_number, read_paging
from .responses import ALL, ResponseStorage
from .state import StateStorage


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """All data of the emulator."""

    responses: ResponseStorage
    state: StateStorage


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, read from the wire.

    Attributes:
        user: The user behind the call id.
        parts: The variable parts of the path, decoded.
    """

    user: str | None
    parts: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    if_match: str | None

    @property
    def id(self) -> str:
        """The response id of the path."""
        return self.parts["id"]

    @property
    def store(self) -> str:
        """The name of the state store of the path."""
        return name_from_segment(self.parts["store"], "name")

    @property
    def key(self) -> str:
        """The item key of the path."""
        return name_from_segment(self.parts["key"], "key")


@dataclass(frozen=True, slots=True)
class Route:
    """One row: `serve` returns a JSON value or raises `Refusal`."""

    name: str
    method: str
    path: str
    serve: Callable[[Storage, Call], object]
    status: int = 200

    @property
    def is_delegable(self) -> bool:
        """Whether a trusted caller may name the user by `x-ms-user-id`."""
        return self.name.startswith("items.")

    @property
    def is_personal(self) -> bool:
        """Whether the result depends on the user; state stores themselves belong to the agent."""
        return not self.name.startswith("stores.")


def _history(storage: Storage, call: Call) -> object:
    previous, conversation = call.query.get("previous_response_id"), call.query.get("conversation_id")
    limit = read_number(call.query, "limit", ALL)
    return storage.responses.history(call.user, previous=previous, conversation=conversation, limit=limit)


def _set_item(storage: Storage, call: Call) -> object:
    body = parse_object(call.body)
    return storage.state.set_item(call.store, call.user, call.key, body, if_match=call.if_match)


def _list_keys(storage: Storage, call: Call) -> object:
    given = {name.removeprefix("tags."): text for name, text in call.query.items() if name.startswith("tags.")}
    return storage.state.list_keys(call.store, call.user, read_paging(call.query), tags=as_tags(given))


_STORE = "state_stores/{store}"

ROUTES = (
    Route("responses.create", "POST", "responses", lambda s, c: s.responses.create(c.user, parse_object(c.body)), 201),
    Route("responses.get", "GET", "responses/{id}", lambda s, c: s.responses.get(c.user, c.id)),
    Route(
        "responses.update",
        "POST",
        "responses/{id}",
        lambda s, c: s.responses.update(c.user, c.id, parse_object(c.body)),
    ),
    Route("responses.delete", "DELETE", "responses/{id}", lambda s, c: s.responses.delete(c.user, c.id)),
    Route(
        "responses.input_items",
        "GET",
        "responses/{id}/input_items",
        lambda s, c: s.responses.input_items(c.user, c.id, read_paging(c.query)),
    ),
    Route(
        "responses.items",
        "POST",
        "items/batch/retrieve",
        lambda s, c: s.responses.items(c.user, parse_object(c.body)),
    ),
    Route("responses.history", "GET", "history/item_ids", _history),
    Route("stores.create", "POST", "state_stores", lambda s, c: s.state.create_store(parse_object(c.body)), 201),
    Route("stores.get", "GET", _STORE, lambda s, c: s.state.get_store(c.store)),
    Route("stores.update", "PATCH", _STORE, lambda s, c: s.state.update_store(c.store, parse_object(c.body))),
    Route("stores.delete", "DELETE", _STORE, lambda s, c: s.state.delete_store(c.store)),
    Route(
        "items.create",
        "POST",
        f"{_STORE}/items",
        lambda s, c: s.state.create_item(c.store, c.user, parse_object(c.body)),
        201,
    ),
    Route("items.list", "GET", f"{_STORE}/items:keys", _list_keys),
    Route("items.get", "GET", f"{_STORE}/items/{{key}}", lambda s, c: s.state.get_item(c.store, c.user, c.key)),
    Route("items.set", "PUT", f"{_STORE}/items/{{key}}", _set_item),
    Route(
        "items.delete",
        "DELETE",
        f"{_STORE}/items/{{key}}",
        lambda s, c: s.state.delete_item(c.store, c.user, c.key, if_match=c.if_match),
    ),
)
