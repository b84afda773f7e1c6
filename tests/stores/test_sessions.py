"""Snapshots: one for each response that leaves something, apart by scope, gone when they are forgotten."""

from __future__ import annotations

from hostedagent.identity import Caller, Scope
from hostedagent.protocol.types import ApprovalRequest
from hostedagent.stores.base import Key
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.sessions import TURN, Sessions, Snapshot

ADA, BOB = Caller(Scope("user:ada")), Caller(Scope("user:bob"))
ASKED = ApprovalRequest("c1", "c1", "pay", "{}", asked_by="resp_1")
FULL = Snapshot({"type": "session", "state": {"n": 1}}, ("mcpr_1",), {"mcpr_1": ASKED}, excluded=("msg_1",))


async def test_a_snapshot_comes_back_whole() -> None:
    sessions = Sessions(MemoryStore())
    await sessions.save(ADA, "resp_1", FULL)

    assert await sessions.resume(ADA, "resp_1") == FULL


async def test_nothing_is_written_for_a_turn_that_leaves_nothing() -> None:
    state = MemoryStore()
    await Sessions(state).save(ADA, "resp_1", Snapshot())

    assert await state.read(ADA, [Key(TURN, "resp_1")]) == [None]


async def test_a_lost_record_is_an_empty_snapshot() -> None:
    assert not await Sessions(MemoryStore()).resume(ADA, "resp_1")


async def test_snapshots_of_others_are_not_there() -> None:
    sessions = Sessions(MemoryStore())
    await sessions.save(ADA, "resp_1", FULL)

    assert not await sessions.resume(BOB, "resp_1")
    assert not await sessions.forget(BOB, "resp_1")
    assert await sessions.resume(ADA, "resp_1") == FULL


async def test_what_is_forgotten_is_told_once_and_gone() -> None:
    sessions = Sessions(MemoryStore())
    await sessions.save(ADA, "resp_1", FULL)

    assert await sessions.forget(ADA, "resp_1") == FULL
    assert not await sessions.forget(ADA, "resp_1")
    assert not await sessions.resume(ADA, "resp_1")
