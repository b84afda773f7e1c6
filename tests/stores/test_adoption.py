"""A conversation's lease is taken up by the same turn in another process, and by no other turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from hostedagent.errors import Conflict
from hostedagent.identity import Caller, Scope
from hostedagent.stores.base import Etag, Write
from hostedagent.stores.heads import NEW
from hostedagent.stores.leases import Lease
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.sessions import Sessions

ADA, BOB = Caller(Scope("user:ada")), Caller(Scope("user:bob"))


async def test_the_turn_goes_on_holding_its_conversation() -> None:
    state = MemoryStore()
    lease = await Sessions(state).acquire(ADA, "conv_1")
    sessions = Sessions(state)
    adopted = await sessions.take_over(ADA, "conv_1", lease.owner, NEW)
    assert adopted is not None

    with pytest.raises(Conflict):
        await Sessions(state).acquire(ADA, "conv_1")
    await sessions.release(adopted, response_id="resp_1")
    assert (await Sessions(state).head(ADA, "conv_1")).response_id == "resp_1"
    assert (await Sessions(state).acquire(ADA, "conv_1")).was_abandoned is False


async def test_whoever_held_it_before_has_lost_it() -> None:
    state = MemoryStore()
    before = Sessions(state)
    lease = await before.acquire(ADA, "conv_1")
    assert await Sessions(state).take_over(ADA, "conv_1", lease.owner, NEW) is not None

    with pytest.raises(Conflict):
        await before.release(lease, response_id="resp_1")
    assert lease.state == "lost"


@pytest.mark.parametrize("end", [{"response_id": "resp_1"}, {"excluded": ["msg_1"]}])
async def test_a_conversation_that_another_turn_has_had_is_not_taken_up(end: dict[str, Any]) -> None:
    state = MemoryStore()
    sessions = Sessions(state)
    lease = await sessions.acquire(ADA, "conv_1")
    await sessions.release(lease, **end)

    assert await Sessions(state).take_over(ADA, "conv_1", lease.owner, NEW) is None
    other = await sessions.acquire(ADA, "conv_1")
    assert await Sessions(state).take_over(ADA, "conv_1", lease.owner, NEW) is None
    assert await Sessions(state).take_over(BOB, "conv_1", other.owner, NEW) is None


async def test_a_conversation_that_was_freed_and_not_used_since_is_taken_up_again() -> None:
    state = MemoryStore()
    before = Sessions(state)
    await before.release(await before.acquire(ADA, "conv_1"), response_id="resp_1", excluded=["msg_1"])
    lease = await before.acquire(ADA, "conv_1")
    await before.release(lease)

    adopted = await Sessions(state).take_over(ADA, "conv_1", lease.owner, ("resp_1", "msg_1"))
    assert adopted is not None
    with pytest.raises(Conflict):
        await Sessions(state).acquire(ADA, "conv_1")


async def test_a_conversation_that_was_deleted_is_not_taken_up() -> None:
    state = MemoryStore()
    before = Sessions(state)
    lease = await before.acquire(ADA, "conv_1")
    await before.erase_head(lease)

    assert await Sessions(state).take_over(ADA, "conv_1", lease.owner, NEW) is None


class Renewing(MemoryStore):
    """A store in which the earlier process renews the lease just before the turn is taken over."""

    before: Sessions | None = None
    lease: Lease | None = None

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        before, self.before = self.before, None
        if before is not None and self.lease is not None:
            self.lease.head = replace(self.lease.head, expires_at=0.0)
            await before.ensure_valid(self.lease)
        return await super().write(caller, writes)


async def test_a_process_that_renews_its_lease_meanwhile_does_not_keep_the_turn_from_going_on() -> None:
    state = Renewing()
    before = Sessions(state)
    lease = await before.acquire(ADA, "conv_1")
    state.before, state.lease = before, lease
    sessions = Sessions(state)
    adopted = await sessions.take_over(ADA, "conv_1", lease.owner, NEW)

    assert adopted is not None
    await sessions.release(adopted, response_id="resp_1")
    with pytest.raises(Conflict):
        await before.release(lease, response_id="resp_2")


async def test_the_turn_takes_its_conversation_from_another_process_that_tries_to_begin_it() -> None:
    state = MemoryStore()
    first, second = Sessions(state), Sessions(state)
    lease = await first.acquire(ADA, "conv_1", "resp_1")
    await first.release(lease)  # It had expired, because the process stood still.
    late = await second.acquire(ADA, "conv_1", "resp_1")
    assert await Sessions(state).take_over(ADA, "conv_1", lease.owner, lease.head.version) is not None

    with pytest.raises(Conflict):
        await second.ensure_valid(late)
        await second.release(late)
    other = await Sessions(MemoryStore()).acquire(ADA, "conv_1", "resp_2")
    assert await Sessions(state).take_over(ADA, "conv_1", other.owner, NEW) is None
