"""The responses of a conversation, in a list of parts, and responses of which a store has lost something."""

from __future__ import annotations

import pytest

from hostedagent.identity import Caller, Scope
from hostedagent.stores import members
from hostedagent.stores.base import Key
from hostedagent.stores.members import MEMBERS
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.responses import StoredResponses
from tests.emulator.wire import message, response

ADA = Caller(Scope("user:ada"))
CONVERSATION = {"conversation": {"id": "conv_1"}}


async def test_a_long_conversation_keeps_its_order_and_what_is_left_of_a_lost_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(members, "_SEGMENT", 2)
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


async def test_a_response_is_read_without_the_items_that_are_gone() -> None:
    repository = StoredResponses(MemoryStore())
    inputs, output = [message("in-1"), message("in-2")], [message("out-1"), message("out-2")]
    await repository.create(ADA, response("r", *output, status="completed"), inputs)
    await repository.erase_items(ADA, ["in-1", "out-2"])

    assert [item["id"] for item in (await repository.get(ADA, "r"))["output"]] == ["out-1"]
    assert [item["id"] for item in await repository.input_items(ADA, "r")] == ["in-2"]
    assert await repository.items(ADA, ["in-1", "in-2"]) == [None, message("in-2")]
