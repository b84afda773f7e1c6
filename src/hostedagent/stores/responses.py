"""Responses as records of a `Store`: one for each response, one for each item, and the members of each conversation.

A response refers to its predecessor instead of copying the history, so a conversation grows only by its own messages,
and a failed turn is skipped. Deleted content is erased, also for references to its items. A failed or cancelled
response is final: a process that completes it afterwards, because it lost its lease, gets a conflict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, TypeAlias

from msgspec import Struct, field

from hostedagent.identity import Caller
from hostedagent.observability.metrics import StoreCall
from hostedagent.off_loop import off_loop
from hostedagent.protocol.json import decode, encode
from hostedagent.protocol.statuses import COUNTED, ENDED, QUEUED
from hostedagent.protocol.types import Item, Json
from hostedagent.protocol.values import rows_of
from hostedagent.stores.base import (
    ABSENT,
    FIRST_PAGE,
    Etag,
    Key,
    Page,
    Record,
    Store,
    StoreConflict,
    StoreNotFound,
    StoreUnavailable,
    Write,
)
from hostedagent.stores.batch import Part, is_transactional, write_batch
from hostedagent.stores.members import Members
from hostedagent.stores.recent import Recent
from hostedagent.stores.values import ATTEMPTS

RESPONSE: Final = "response"
ITEM: Final = "item"

_LINKS: Final = 4_000
"""Maximum number of cached links."""

_TIMES: Final = ("created_at", "completed_at")

_TOMBSTONE: Final[Mapping[str, Any]] = {"response": None, "input_ids": [], "output_ids": []}
"""The record of a response that does not exist any more, or never will."""

_Place: TypeAlias = tuple[str, str | None, str]
"""A response in its scope."""


class _Link(Struct, frozen=True):
    """A link of a chain: the predecessor of a response, the ids of its items unless it failed, and its status."""

    previous: str | None
    item_ids: tuple[str, ...]
    status: str | None = None


class _Running(Struct, frozen=True):
    """The record of a response that this process has begun, so that its end is written without reading it."""

    status: Json
    input_ids: list[str]
    output_ids: list[str]
    etag: Etag


class StoredResponses:
    """A `ResponseRepository` over any `Store`."""

    def __init__(self, store: Store) -> None:
        self.store = self._store = store
        self._members = Members(store)
        self._links: Recent[_Place, _Link] = Recent(_LINKS)
        self._running: Recent[_Place, _Running] = Recent(_LINKS)
        self._taken: Recent[_Place, tuple[dict[str, Any] | None, Etag]] = Recent(_LINKS)
        self._is_transactional = is_transactional(store)

    async def create(
        self,
        caller: Caller,
        response: Mapping[str, Json],
        input_items: Iterable[Item],
        history_ids: Sequence[str] | None = None,
        *,
        process: str = "",
    ) -> None:
        """Store a new response, or the beginning of one that `take_queued` has taken.

        Raises:
            StoreConflict: There is one of this id, or another process has taken it from the queue since.

        Args:
            history_ids: Not kept: the response names its predecessor.
            process: The process without which it does not go on.
        """
        response_id = str(response["id"])
        with StoreCall("responses", "create"):
            items = [dict(item) for item in input_items]
            output = _output(response)
            rows = await off_loop(len(items), _item_writes, [*items, *output])
            record = _record(response, [str(item["id"]) for item in items], output)
            if process:
                record["process"] = process
            queued, etag = self._taken.pop(_place(caller, response_id), (None, ABSENT))
            replaced = set(queued["input_ids"]).difference(record["input_ids"]) if queued is not None else ()
            for attempt in range(ATTEMPTS):
                if attempt or not self._is_transactional:  # Most are new, and a conflict changes nothing.
                    if (await self._read(caller, response_id))[1] != etag:
                        raise StoreConflict(f"Response '{response_id}' already exists.")
                # The response last: without transactions, it never names an item that does not exist.
                writes = [*rows, *_erasures(replaced), *await self._members.joining(caller, response)]
                with suppress(StoreConflict):
                    written = [*writes, Write(_key(response_id), encode(record), etag)]
                    self.note(caller, record, (await self._store.write(caller, written))[-1])
                    return
        raise StoreUnavailable("The conversation is changed by too many others at once.")

    async def forbid(self, caller: Caller, response_id: str) -> bool:
        """Make sure that a response is not created, not even by a write under way; `False` if it exists."""
        with suppress(StoreConflict):
            record = encode({**_TOMBSTONE, "previous": None, "forbidden": True})
            await self._store.write(caller, [Write(_key(response_id), record, ABSENT)])
            return True
        found, _ = await self._read(caller, response_id)
        return found is not None and found["response"] is None

    async def was_created(self, caller: Caller, response_id: str) -> bool | None:
        """Whether a response was created, even if it was deleted since; `None` if it may still be created."""
        record, _ = await self._read(caller, response_id)
        return "forbidden" not in record if record is not None else None

    async def was_deleted(self, caller: Caller, response_id: str) -> bool:
        """Whether a response was created and deleted since."""
        record, _ = await self._read(caller, response_id)
        return record is not None and record["response"] is None and "forbidden" not in record

    async def take_queued(self, caller: Caller, response_id: str) -> bool:
        """Take a response that waits in the queue; `False` if it does not.

        Afterwards only `create` of this process can begin it, until another one takes it: its record is written again,
        so that a `create` under way elsewhere finds it changed. A response that does not exist cannot be created.
        """
        for _ in range(ATTEMPTS):
            record, etag = await self._read(caller, response_id)
            if record is None and not await self.forbid(caller, response_id):
                continue
            if record is None or not _waits(record):
                return False
            with suppress(StoreConflict):
                (etag,) = await self._store.write(caller, [Write(_key(response_id), encode(record), etag)])
                self._taken[_place(caller, response_id)] = record, etag
                return True
        raise StoreUnavailable("The response is changed by too many others at once.")

    async def update(
        self,
        caller: Caller,
        response: Mapping[str, Json],
        with_parts: Sequence[Part] = (),
        *,
        is_own: bool = True,
    ) -> None:
        """Replace a stored response; raises `StoreNotFound`, and `StoreConflict` when it has ended otherwise.

        Args:
            with_parts: Further records to store in the same write.
            is_own: Whether the response is of this process, which may fail what it has completed.
        """
        with StoreCall("responses", "update"):
            await write_batch(self._store, caller, [_Replacement(self, caller, response, is_own), *with_parts])

    async def replacing(
        self, caller: Caller, response: Mapping[str, Json], *, is_again: bool, is_own: bool
    ) -> tuple[dict[str, Any], list[Write]]:
        """The new record of a response, and its write.

        Args:
            is_own: Whether the process of its turn replaces it.
        """
        response_id = str(response["id"])
        known = self._running.pop(_place(caller, response_id), None)
        if known is None or is_again:
            stored, etag = await self._existing(caller, response_id)
            known = _Running(stored["response"].get("status"), stored["input_ids"], stored["output_ids"], etag)
        _check_end(known.status, response, is_own=is_own)
        output = _output(response)
        record = _record(response, known.input_ids, output)
        dropped = set(known.output_ids).difference(record["output_ids"], record["input_ids"])
        writes = [*_item_writes(output), *_erasures(dropped)]
        return record, [*writes, Write(_key(response_id), encode(record), known.etag)]

    def note(self, caller: Caller, record: Mapping[str, Any], etag: Etag) -> None:
        """The record of a response was written."""
        response = record["response"]
        response_id, status = str(response["id"]), response.get("status")
        self._remember(caller, response_id, _link_of(record))
        if self._is_transactional and status not in ENDED:
            known = _Running(status, record["input_ids"], record["output_ids"], etag)
            self._running[_place(caller, response_id)] = known

    async def get(self, caller: Caller, response_id: str) -> dict[str, Json]:
        """The response with its output; raises `StoreNotFound`."""
        with StoreCall("responses", "get"):
            record, _ = await self._existing(caller, response_id)
            items = await self._items(caller, record["output_ids"])
        return {**record["response"], "output": [item for item in items if item is not None]}

    async def status(self, caller: Caller, response_id: str) -> str | None:
        """The status of a response; `None` if there is no such response."""
        with StoreCall("responses", "get_status"):
            return (await self._link(caller, response_id)).status

    async def process(self, caller: Caller, response_id: str) -> str:
        """The process that runs an unfinished response; `""` if unknown."""
        record, _ = await self._read(caller, response_id)
        return str(record.get("process", "")) if record is not None else ""

    async def delete(self, caller: Caller, response_id: str) -> None:
        """Erase the response and its items; raises `StoreNotFound`. Its successors keep the chain, without them."""
        with StoreCall("responses", "delete"):
            record, _ = await self._existing(caller, response_id)
            tombstone: dict[str, Any] = {**record, **_TOMBSTONE}
            await self._store.write(
                caller, [*_erasures(_item_ids(record)), Write(_key(response_id), encode(tombstone))]
            )
            self._links.pop(_place(caller, response_id), None)

    async def input_items(self, caller: Caller, response_id: str, page: Page = FIRST_PAGE) -> list[Item]:
        """A page of the input items, history first; raises `StoreNotFound`."""
        with StoreCall("responses", "get_input_items"):
            record, _ = await self._existing(caller, response_id)
            history = await self._chain(caller, record["previous"])
            found = await self._items(caller, [*history, *record["input_ids"]])
        return page.select([item for item in found if item is not None])

    async def items(self, caller: Caller, ids: Sequence[str]) -> list[Item | None]:
        """Items by id, `None` for each that does not exist."""
        with StoreCall("responses", "get_items"):
            return await self._items(caller, ids)

    async def history_ids(
        self, caller: Caller, previous_response_id: str | None, conversation_id: str | None, limit: int
    ) -> list[str]:
        """The ids of the conversation's items, oldest first; with a positive limit the newest ones."""
        ids: list[str] = []
        with StoreCall("responses", "get_history_item_ids"):
            if previous_response_id is not None:
                ids = await self._chain(caller, previous_response_id)
            elif conversation_id is not None:
                for response_id in await self._members.all(caller, conversation_id):
                    ids.extend((await self._link(caller, response_id)).item_ids)
        return ids[-limit:] if limit > 0 else ids

    async def members(self, caller: Caller, conversation_id: str) -> list[str]:
        """The ids of the responses of a conversation, oldest first."""
        with StoreCall("responses", "get_members"):
            return await self._members.all(caller, conversation_id)

    async def erase_items(self, caller: Caller, ids: Iterable[str]) -> None:
        """Erase items; the responses that name them stay, without them."""
        with StoreCall("responses", "delete_items"):
            await self._store.delete(caller, [Key(ITEM, item_id) for item_id in ids])

    async def erase_members(self, caller: Caller, conversation_id: str) -> None:
        """Delete the list of responses of a conversation."""
        with StoreCall("responses", "delete_members"):
            await self._members.erase(caller, conversation_id)

    async def _items(self, caller: Caller, ids: Sequence[str]) -> list[Item | None]:
        if not ids:
            return []
        found = await self._store.read(caller, [Key(ITEM, item_id) for item_id in ids])
        return await off_loop(len(found), _decoded, found)

    async def _chain(self, caller: Caller, response_id: str | None) -> list[str]:
        links: list[_Link] = []
        while response_id is not None:
            links.append(link := await self._link(caller, response_id))
            response_id = link.previous
        return [item_id for link in reversed(links) for item_id in link.item_ids]

    async def _link(self, caller: Caller, response_id: str) -> _Link:
        if (link := self._links.get(_place(caller, response_id))) is None:
            record, _ = await self._read(caller, response_id)
            link = _link_of(record) if record is not None else _Link(None, ())
            self._remember(caller, response_id, link)
        return link

    def _remember(self, caller: Caller, response_id: str, link: _Link) -> None:
        if link.status in COUNTED:  # It has ended, and only its removal, which erases its items, changes it.
            self._links[_place(caller, response_id)] = link
        else:
            self._links.pop(_place(caller, response_id), None)

    async def _read(self, caller: Caller, response_id: str) -> tuple[dict[str, Any] | None, Etag]:
        (found,) = await self._store.read(caller, [_key(response_id)])
        return (decode(found.value), found.etag) if found is not None else (None, ABSENT)

    async def _existing(self, caller: Caller, response_id: str) -> tuple[dict[str, Any], Etag]:
        record, etag = await self._read(caller, response_id)
        if record is None or record["response"] is None:
            raise StoreNotFound(f"Response with id '{response_id}' not found.")
        return record, etag


class _Replacement(Struct):
    """The part of a batch that replaces a response."""

    responses: StoredResponses
    caller: Caller
    response: Mapping[str, Json]
    is_own: bool
    record: Mapping[str, Any] = field(default_factory=dict[str, Any])

    async def writes(self, *, is_again: bool) -> Sequence[Write]:
        self.record, writes = await self.responses.replacing(
            self.caller, self.response, is_again=is_again, is_own=self.is_own
        )
        return writes

    def written(self, etags: Sequence[Etag]) -> None:
        self.responses.note(self.caller, self.record, etags[-1])


def _place(caller: Caller, response_id: str) -> _Place:
    return caller.scope.user, caller.scope.chat, response_id


def _key(response_id: str) -> Key:
    return Key(RESPONSE, response_id)


def _record(response: Mapping[str, Json], input_ids: list[str], output: Sequence[Item]) -> dict[str, Any]:
    return {
        "response": {**response, **_times(response), "output": []},
        "previous": response.get("previous_response_id"),
        "input_ids": input_ids,
        "output_ids": [str(item["id"]) for item in output],
    }


def _output(response: Mapping[str, Json]) -> Sequence[Item]:
    return rows_of(response.get("output"))


def _decoded(records: Sequence[Record | None]) -> list[Item | None]:
    return [decode(record.value) if record is not None else None for record in records]


def _item_writes(items: Iterable[Item]) -> list[Write]:
    rows = {str(row["id"]): row for row in items}
    return [Write(Key(ITEM, item_id), encode(row)) for item_id, row in rows.items()]


def _erasures(ids: Iterable[str]) -> list[Write]:
    return [Write(Key(ITEM, item_id), None) for item_id in dict.fromkeys(ids)]


def _check_end(end: Json, response: Mapping[str, Json], *, is_own: bool) -> None:
    """Check that an ended response is not changed; its turn may still fail it, if the rest cannot be stored."""
    status = response.get("status")
    if end not in ENDED or status == end or (end in COUNTED and status in ENDED and is_own):
        return
    raise StoreConflict(f"Response '{response['id']}' has ended as {end}.")


def _times(response: Mapping[str, Json]) -> dict[str, int]:
    """The times of a response in seconds: the SDK's event stream has them as `datetime` until it emits them."""
    return {name: int(value.timestamp()) for name in _TIMES if isinstance(value := response.get(name), datetime)}


def _waits(record: Mapping[str, Any]) -> bool:
    response = record["response"]
    return response is not None and response.get("status") == QUEUED


def _item_ids(record: Mapping[str, Any]) -> list[str]:
    return [*record["input_ids"], *record["output_ids"]]


def _link_of(record: Mapping[str, Any]) -> _Link:
    status = record["response"].get("status") if record["response"] is not None else None
    return _Link(record["previous"], tuple(_item_ids(record)) if status in COUNTED else (), status)
