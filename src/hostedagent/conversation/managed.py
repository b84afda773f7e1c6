"""Reads and changes conversations outside of turns, for the Conversations API.

Items that a caller adds are stored like the input of a turn without a run: as a member of the conversation that becomes
its head. Every change acquires the lease of the conversation, so that it has one writer, whether a turn or a caller.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hostedagent.conversation.transcript import WHOLE, inherit, read_items
from hostedagent.errors import InvalidRequest, NotFound
from hostedagent.identity import Caller
from hostedagent.off_loop import off_loop
from hostedagent.protocol.ids import new_item_id
from hostedagent.protocol.transcript.storing import stored_input
from hostedagent.protocol.types import Item, Json
from hostedagent.stores.base import ResponseRepository
from hostedagent.stores.conversations import Description
from hostedagent.stores.leases import Head, Lease
from hostedagent.stores.responses import StoredResponses
from hostedagent.stores.sessions import Sessions

ADDED: Final = "added"
"""The prefix of the ids of members that callers added. They are no ids of responses, so no route shows them."""


class ManagedConversations(Struct, frozen=True):
    """The conversations of callers.

    Args:
        forget: Deletes the state of a response besides its items.
    """

    sessions: Sessions
    responses: StoredResponses
    forget: Callable[[Caller, str], Awaitable[None]]

    async def create(self, caller: Caller, metadata: Mapping[str, str], items: Sequence[Item] = ()) -> Description:
        """Create a conversation that begins with items."""
        conversation_id = new_item_id("conv", "")
        await self.sessions.conversations.begin(caller, conversation_id, metadata)
        if items:
            await self._store(caller, conversation_id, items)
        return await self.describe(caller, conversation_id)

    async def describe(self, caller: Caller, conversation_id: str) -> Description:
        """A conversation, including one that a turn created with an id of the caller's.

        Raises:
            NotFound: It does not exist, or belongs to another scope.
        """
        (found,) = await self.sessions.conversations.describe(caller, [conversation_id])
        if found is not None:
            return found
        if (await self.sessions.head(caller, conversation_id)).response_id is None:
            raise NotFound(f"Conversation with id {conversation_id!r} not found.", param="conversation_id")
        return Description(conversation_id, int(time.time()))

    async def update(self, caller: Caller, conversation_id: str, metadata: Mapping[str, str]) -> Description:
        """Replace the metadata; raises `NotFound` when the conversation does not exist."""
        described = replace(await self.describe(caller, conversation_id), metadata=metadata)
        await self.sessions.conversations.update(caller, described)
        return described

    async def delete(self, caller: Caller, conversation_id: str) -> None:
        """Delete a conversation with its responses and items.

        Raises:
            NotFound: It does not exist.
            Conflict: A turn is running in it.
        """
        await self.describe(caller, conversation_id)
        lease = await self.sessions.acquire(caller, conversation_id)
        try:
            for response_id in await self.responses.members(caller, conversation_id):
                await self.forget(caller, response_id)
            await self.responses.erase_members(caller, conversation_id)
            await self.sessions.conversations.delete(caller, conversation_id)
        except BaseException:
            await self.sessions.release(lease)
            raise
        await self.sessions.erase_head(lease)

    async def listed(self, caller: Caller) -> list[str]:
        """The ids of the caller's conversations, oldest first."""
        return await self.sessions.conversations.listed(caller)

    async def item_ids(self, caller: Caller, conversation_id: str) -> list[str]:
        """The ids of the items that the next turn reads, oldest first; some may have been erased.

        Raises:
            NotFound: The conversation does not exist.
        """
        await self.describe(caller, conversation_id)
        return await self._ids(caller, conversation_id, await self.sessions.head(caller, conversation_id))

    async def item(self, caller: Caller, conversation_id: str, item_id: str) -> Item:
        """An item of a conversation; raises `NotFound` when it is not one of that conversation."""
        ids = await self.item_ids(caller, conversation_id)
        found = await read_items(self.responses, caller, [item_id] if item_id in ids else [])
        if not found:
            raise _no_item(item_id)
        return found[0]

    async def add(self, caller: Caller, conversation_id: str, items: Sequence[Item]) -> list[Item]:
        """Add items at the end, for the next turn to read; returns the stored items.

        Raises:
            NotFound: The conversation does not exist.
            Conflict: A turn is running in it.
        """
        await self.describe(caller, conversation_id)
        return await self._store(caller, conversation_id, items)

    async def remove(self, caller: Caller, conversation_id: str, item_id: str) -> Description:
        """Erase an item: no later turn reads it.

        Raises:
            NotFound: It is not one of that conversation.
            Conflict: A turn is running in it.
        """
        described = await self.describe(caller, conversation_id)
        async with self._held(caller, conversation_id) as lease:
            ids = await self._ids(caller, conversation_id, lease.head)
            if item_id not in ids or not await read_items(self.responses, caller, [item_id]):
                raise _no_item(item_id)
            await self.responses.erase_items(caller, [item_id])
        return described

    async def before(self, caller: Caller, conversation_id: str, item_id: str | None) -> tuple[Item, ...]:
        """The items of a conversation up to one of them, for a conversation that begins with them.

        Args:
            item_id: The last item; `None` for all.

        Raises:
            NotFound: The conversation or the item does not exist.
        """
        ids = await self.item_ids(caller, conversation_id)
        if item_id is not None:
            if item_id not in ids:
                raise _no_item(item_id)
            ids = ids[: ids.index(item_id) + 1]
        return await read_items(self.responses, caller, ids)

    async def _store(self, caller: Caller, conversation_id: str, items: Sequence[Item]) -> list[Item]:
        added = new_item_id(ADDED, conversation_id)
        stored = await off_loop(len(items), stored_input, items, conversation_id)
        member: dict[str, Json] = {
            "id": added,
            "status": "completed",
            "conversation": {"id": conversation_id},
            "output": [],
        }
        async with self._held(caller, conversation_id, head=added):
            await self.responses.create(caller, member, stored)
        return stored

    @asynccontextmanager
    async def _held(self, caller: Caller, conversation_id: str, *, head: str | None = None) -> AsyncGenerator[Lease]:
        """Change a conversation under its lease; afterwards `head` is its head, with the state of the previous head."""
        sessions = self.sessions
        lease = await sessions.acquire(caller, conversation_id)
        try:
            await inherit(self.responses, caller, lease)
            before = lease.head.response_id
            yield lease
            has_snapshot = head is not None and before is not None and lease.head.has_snapshot
            if has_snapshot and before is not None and head is not None:
                snapshot = replace(await sessions.resume(caller, before), approvals=(), excluded=(), is_early=False)
                await sessions.save(caller, head, snapshot)
        except BaseException:
            await sessions.release(lease)
            raise
        await sessions.release(lease, response_id=head, has_snapshot=has_snapshot)

    async def _ids(self, caller: Caller, conversation_id: str, head: Head) -> list[str]:
        ids = await self.responses.history_ids(caller, None, conversation_id, WHOLE)
        return [item_id for item_id in ids if item_id not in head.excluded]


async def leave_out(
    sessions: Sessions, responses: ResponseRepository, caller: Caller, conversation_id: str, item_ids: Sequence[str]
) -> None:
    """Exclude items from later turns of a conversation; their responses keep them, and open requests are closed.

    Raises:
        Conflict: A turn is running in it.
        InvalidRequest: The state of a workflow contains them.
    """
    lease = await sessions.acquire(caller, conversation_id)
    try:
        await inherit(responses, caller, lease)
        head, has_snapshot = lease.head.response_id, lease.head.has_snapshot
        if head is not None and has_snapshot:
            snapshot = await sessions.resume(caller, head)
            if snapshot.workflow is not None:
                raise InvalidRequest("A workflow cannot go back to an earlier message. Begin another conversation.")
            still_open = {item_id: row for item_id, row in snapshot.open.items() if item_id not in item_ids}
            snapshot = replace(snapshot, open=still_open)
            await sessions.save(caller, head, snapshot)
            has_snapshot = bool(snapshot)
    except BaseException:
        await sessions.release(lease)
        raise
    await sessions.release(lease, response_id=head, excluded=item_ids, has_snapshot=has_snapshot)


def check_history(owner: str) -> None:
    """Refuse to change items if the agent would not see the change.

    Raises:
        InvalidRequest: The conversation is not kept by the host.
    """
    if owner != "replay":
        raise InvalidRequest(
            f"The items of a conversation cannot be changed here: HostOptions(history={owner!r}) keeps them elsewhere."
        )


def _no_item(item_id: str) -> NotFound:
    return NotFound(f"There is no item {item_id!r} in this conversation.", param="item_id")
