"""Stored responses and their items, one partition per user; pure, called by the routes.

Input and output items are stored under their own ids. The history of a response is the one that its creator specified,
followed by its input and its output. A deleted response is removed from histories, but its items are kept: later
responses still refer to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from .reading import JsonObject, Paging, as_object, as_objects, as_text, as_texts, envelope, page_of
from .refusal import bad_request, conflict, not_found

ALL = -1


@dataclass(slots=True)
class _Stored:
    """One response: the newest document and the ids that make up its part of a history."""

    document: JsonObject
    conversation: str | None
    history: list[str]
    inputs: list[str]
    outputs: list[str]

    @property
    def chain(self) -> list[str]:
        return [*self.history, *self.inputs, *self.outputs]


@dataclass(slots=True)
class _Partition:
    responses: dict[str, _Stored] = field(default_factory=dict[str, _Stored])
    items: dict[str, JsonObject] = field(default_factory=dict[str, JsonObject])

    def keep(self, items: Iterable[JsonObject]) -> list[str]:
        """Make items retrievable; one without an id lives only inside its response."""
        kept = {item_id: item for item in items if isinstance(item_id := item.get("id"), str)}
        self.items.update(kept)
        return list(kept)


class ResponseStorage:
    """Responses, items and histories of all users; `user=None` is the partition of requests without a user."""

    def __init__(self) -> None:
        self._partitions: dict[str | None, _Partition] = {}

    def create(self, user: str | None, body: JsonObject) -> JsonObject:
        """Store a new response from `{"response", "input_items"?, "history_item_ids"?}`."""
        document = as_object(body.get("response"), "response")
        response_id = as_text(document.get("id"), "response.id")
        inputs = as_objects(body.get("input_items"), "input_items")
        history = as_texts(body.get("history_item_ids"), "history_item_ids")
        outputs = as_objects(document.get("output"), "response.output")
        partition = self._partition(user)
        if response_id in partition.responses:
            raise conflict(f"Response '{response_id}' already exists.")
        partition.responses[response_id] = _Stored(
            document, _conversation_of(document), history, partition.keep(inputs), partition.keep(outputs)
        )
        return document

    def get(self, user: str | None, response_id: str) -> JsonObject:
        """The newest document of a response."""
        return self._find(user, response_id).document

    def update(self, user: str | None, response_id: str, document: JsonObject) -> JsonObject:
        """Replace the document of a response; the items of its output become retrievable."""
        if document.get("id") != response_id:
            raise bad_request("The id of the response differs from the one in the path.", "id")
        outputs = as_objects(document.get("output"), "output")
        stored = self._find(user, response_id)
        stored.document = document
        stored.outputs = self._partition(user).keep(outputs)
        return document

    def delete(self, user: str | None, response_id: str) -> JsonObject:
        """Forget a response."""
        self._find(user, response_id)
        del self._partition(user).responses[response_id]
        return {"id": response_id, "object": "response", "deleted": True}

    def input_items(self, user: str | None, response_id: str, paging: Paging) -> JsonObject:
        """A page of the input of a response: the history, then its own input."""
        stored = self._find(user, response_id)
        items = self._partition(user).items
        given = [items[item_id] for item_id in dict.fromkeys([*stored.history, *stored.inputs]) if item_id in items]
        data, has_more = page_of(given, paging, id_of=lambda item: str(item["id"]))
        return envelope(data, has_more=has_more)

    def items(self, user: str | None, body: JsonObject) -> list[JsonObject | None]:
        """The items of `{"item_ids"}` in the same order, `None` for those that the user does not have."""
        items = self._partition(user).items
        return [items.get(item_id) for item_id in as_texts(body.get("item_ids"), "item_ids")]

    def history(
        self, user: str | None, *, previous: str | None, conversation: str | None, limit: int = ALL
    ) -> Sequence[str]:
        """Item ids, oldest first, of a previous response, of a conversation, or of both; `limit` keeps the newest."""
        if limit < ALL:
            raise bad_request(f"limit must be -1 or more, it is {limit}.", "limit")
        chains = [self._find(user, previous).chain] if previous is not None else []
        if conversation is not None:
            responses = self._partition(user).responses.values()
            chains += [stored.chain for stored in responses if stored.conversation == conversation]
        ids = list(dict.fromkeys(item_id for chain in chains for item_id in chain))
        return ids if limit == ALL else ids[max(0, len(ids) - limit) :]

    def _partition(self, user: str | None) -> _Partition:
        return self._partitions.setdefault(user, _Partition())

    def _find(self, user: str | None, response_id: str) -> _Stored:
        stored = self._partition(user).responses.get(response_id)
        if stored is None:
            raise not_found(f"Response '{response_id}' not found.")
        return stored


def _conversation_of(document: JsonObject) -> str | None:
    conversation = document.get("conversation")
    if isinstance(conversation, dict):
        conversation = cast(JsonObject, conversation).get("id")
    return conversation if isinstance(conversation, str) else None
