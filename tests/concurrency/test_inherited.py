"""What the next turn of a conversation takes over from a turn whose process died."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from hostedagent.conversation.transcript import inherit
from hostedagent.identity import Caller, Scope
from hostedagent.stores.leases import Lease
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.responses import StoredResponses
from hostedagent.stores.sessions import Sessions
from tests.emulator.wire import message, response

ADA = Caller(Scope("user:ada"))
CONVERSATION: dict[str, Any] = {"id": "conv_1"}


async def left(*names: str, excluded: tuple[str, ...] = ()) -> Lease:
    """The lease of a turn after completed ones whose processes died before they released the conversation."""
    state = MemoryStore()
    responses = StoredResponses(state)
    for name in names:
        fields: dict[str, Any] = {"conversation": CONVERSATION, "status": "completed"}
        await responses.create(ADA, response(name, **fields), [message(f"{name}-asked", response_id=name)])
        await responses.update(ADA, response(name, message(f"{name}-said", response_id=name), **fields))
    lease = await Sessions(state).acquire(ADA, "conv_1")
    lease.head, lease.was_abandoned = replace(lease.head, excluded=excluded), True
    await inherit(responses, ADA, lease)
    return lease


async def test_the_newest_turn_that_was_completed_is_continued() -> None:
    assert (await left("a", "b")).head.response_id == "b"


@pytest.mark.parametrize(("excluded", "head"), [((), "a"), (("a-asked", "a-said"), None)])
async def test_a_completed_turn_that_the_conversation_excludes_stays_excluded(
    excluded: tuple[str, ...], head: str | None
) -> None:
    lease = await left("a", excluded=excluded)
    assert (lease.head.response_id, lease.head.excluded) == (head, excluded)
