"""The responses of a conversation, in a list of parts."""

from __future__ import annotations

import pytest

from hostedagent.identity import Caller, Scope
from hostedagent.stores import responses
from hostedagent.stores.base import Key
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.responses import MEMBERS, StoredResponses
from tests.emulator.wire import message, response

ADA = Caller(Scope("user:ada"))
CONVERSATION = {"conversation": {"id": "conv_1"}}


async def test_a_long_conversation_keeps_its_order_and_what_is_left_of_a_lost_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(responses, "_SEGMENT", 2)
    store = MemoryStore()
    repository = StoredResponses(store)
    names = [f"r{n}" for n in range(7)]
    for name in names:
        await repository.create(ADA, response(name, **CONVERSATION), [message(f"{name}-in")])
    assert await repository.members(ADA, "conv_1") == names
    await store.delete(ADA, [Key(MEMBERS, "conv_1\n1")])

    assert await repository.members(ADA, "conv_1") == ["r0", "r1", "r4", "r5", "r6"]
    await repository.erase_members(ADA, "conv_1")
    assert await repository.members(ADA, "conv_1") == []
    assert await store.read(ADA, [Key(MEMBERS, f"conv_1\n{n}") for n in range(4)]) == [None] * 4
