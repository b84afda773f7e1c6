"""Reads the stored items of a conversation that a turn may see."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from hostedagent.errors import NotFound
from hostedagent.identity import Caller
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.statuses import COUNTED
from hostedagent.protocol.types import Item
from hostedagent.stores.base import ResponseRepository, StoreNotFound
from hostedagent.stores.heads import joined
from hostedagent.stores.leases import Lease

WHOLE: Final = -1
"""The history limit that means none."""


async def history_ids(
    repository: ResponseRepository, caller: Caller, request: TurnRequest, excluded: Collection[str] = ()
) -> tuple[str, ...]:
    """The ids of the items before a turn, oldest first, without those of failed turns.

    Raises:
        NotFound: `previous_response_id` does not exist, or belongs to another scope.
    """
    previous, conversation = request.previous_response_id, request.conversation_id
    if previous is None and conversation is None:
        return ()
    ids: Sequence[str] = ()
    try:
        ids = await repository.history_ids(caller, previous, conversation, WHOLE)
        if previous is not None and not ids:
            await repository.get(caller, previous)
    except StoreNotFound:
        raise NotFound(f"Response with id '{previous}' not found.", param="previous_response_id") from None
    return tuple(item_id for item_id in ids if item_id not in excluded)


async def read_items(repository: ResponseRepository, caller: Caller, ids: Sequence[str]) -> tuple[Item, ...]:
    """The items of a conversation; deleted ones are skipped."""
    if not ids:
        return ()
    return tuple(item for item in await repository.items(caller, ids) if item is not None)


async def orphans(
    repository: ResponseRepository, caller: Caller, conversation_id: str, head: str | None
) -> tuple[str, ...]:
    """The items after the head of a conversation, which a turn stored whose process died.

    There are none if the head has no items any more, because its response was deleted: nothing tells what came later.
    """
    ids = await repository.history_ids(caller, None, conversation_id, WHOLE)
    if head is None:
        return tuple(ids)
    own = frozenset(await repository.history_ids(caller, head, None, WHOLE))
    last = max((n for n, item_id in enumerate(ids) if item_id in own), default=len(ids))
    return tuple(ids[last + 1 :])


async def inherit(repository: ResponseRepository, caller: Caller, lease: Lease) -> None:
    """Complete the turn of a lease holder whose process died before it released the lease.

    If that turn was stored as completed, its readers know of it, so it becomes the head of the conversation: a store
    without transactions may not have recorded that. The items of any other unfinished turn are excluded.
    """
    if not lease.was_abandoned:
        return
    head, conversation = lease.head, lease.conversation_id
    left = await orphans(repository, caller, conversation, head.response_id)
    items = await read_items(repository, caller, [item_id for item_id in left if item_id not in head.excluded])
    for response_id in dict.fromkeys(str(item["response_id"]) for item in reversed(items) if item.get("response_id")):
        with suppress(StoreNotFound):
            if (await repository.get(caller, response_id)).get("status") in COUNTED:
                head = replace(head, response_id=response_id, has_snapshot=True)
                left = await orphans(repository, caller, conversation, response_id)
                break
    lease.head = replace(head, excluded=joined(head.excluded, left))


async def stored_by(
    repository: ResponseRepository, caller: Caller, response_id: str, previous: str | None
) -> tuple[str, ...]:
    """The items that an unfinished response added to the conversation."""
    ids = await repository.history_ids(caller, response_id, None, WHOLE)
    before = frozenset(await repository.history_ids(caller, previous, None, WHOLE) if previous else ())
    return tuple(item_id for item_id in ids if item_id not in before)
