"""The stored form, literally: a change of a key, of a kind or of a field would lose every conversation at an upgrade.

Nothing here is imported that the test states. A change of these values needs a migration, not a change of this test.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from hostedagent.identity import Caller, Scope
from hostedagent.stores import (
    approvals,
    base,
    checkpoints,
    journals,
    leases,
    members,
    responses,
    running,
    sessions,
    tokens,
)
from hostedagent.stores.base import Key
from hostedagent.stores.heads import Head
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.responses import StoredResponses
from hostedagent.stores.values import Versioned, dump_value

ADA = Caller(Scope("user:ada"))
RESPONSE = {
    "id": "caresp_1",
    "status": "completed",
    "conversation": {"id": "conv_1"},
    "output": [{"id": "msg_2", "type": "message"}],
}


KEYS = {
    "7e7c7834a0520e4b27904771228637c2088e83fb78b2b03fb4229b1670f2259c": (Scope("local"), "conversation", "conv_1"),
    "b2f776ee6cf2525438d78f307238351cb7f2de93a80217f8ea5b38905ba16e84": (Scope("user:ada"), "response", "caresp_1"),
    "12e35b3900a796c7199f3225c74bfbfa7a11d1b2edb7e37b360eadb4230504f3": (Scope("user:ada", "chat"), "item", "msg_1"),
}


def test_a_key_is_the_same_for_ever() -> None:
    assert {scope.key(*parts): (scope, *parts) for scope, *parts in KEYS.values()} == KEYS


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (approvals.ASKED, "approval"),
        (approvals.ANSWERED, "approval-answer"),
        (checkpoints.PART, "checkpoint"),
        (journals.JOURNAL, "recovery"),
        (leases.CONVERSATION, "conversation"),
        (responses.RESPONSE, "response"),
        (responses.ITEM, "item"),
        (members.MEMBERS, "members"),
        (running.RUNNING, "running"),
        (sessions.TURN, "turn"),
        (tokens.TOKEN, "continuation-token"),
    ],
)
def test_a_kind_of_record_keeps_its_name(kind: str, text: str) -> None:
    assert kind == text


def test_the_limits_of_stored_values_stay() -> None:
    assert base.MAX_VALUE_BYTES == 990_000
    assert base.DEFAULT_TTL == 30 * 24 * 3600


async def value(store: MemoryStore, kind: str, name: str) -> Any:
    (record,) = await store.read(ADA, [Key(kind, name)])
    assert record is not None, f"nothing is stored as {kind} {name}"
    return json.loads(record.value)


async def test_a_response_and_its_items_are_stored_as_before() -> None:
    store = MemoryStore()
    await StoredResponses(store).create(ADA, RESPONSE, [{"id": "msg_1", "type": "message"}])

    assert await value(store, "response", "caresp_1") == {
        "response": {**RESPONSE, "output": []},
        "previous": None,
        "input_ids": ["msg_1"],
        "output_ids": ["msg_2"],
    }
    assert await value(store, "item", "msg_1") == {"id": "msg_1", "type": "message"}
    assert await value(store, "item", "msg_2") == {"id": "msg_2", "type": "message"}


def test_the_record_of_a_conversation_is_stored_as_before() -> None:
    stored = {"head": "r1", "excluded": ["m1"], "has_snapshot": True, "owner": "p:t", "expires_at": 5.0}
    head = Head("r1", ("m1",), True, "p:t", 5.0)

    assert json.loads(dump_value("conversation", head)) == stored
    assert Versioned(stored, "").load(Head) == head
    assert Versioned({}, "").load(Head) == Head()


def test_a_snapshot_is_stored_as_before() -> None:
    snapshot = sessions.Snapshot({"a": 1}, ("mcpr_1",), excluded=("m1",))

    dumped = json.loads(dump_value("turn", snapshot.dump()))

    assert set(dumped) == {"session", "approvals", "open", "excluded", "workflow"}, "a field was renamed or dropped"
    assert Versioned(dumped, "").load(sessions.Snapshot) == snapshot
