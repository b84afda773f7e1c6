"""The conversation of a turn whose process has died: it may be free already, and is when the turn cannot go on."""

from typing import Any

import pytest
from msgspec.structs import replace

from hostedagent.engine import takeover
from hostedagent.engine.commit import TurnCommit
from hostedagent.engine.recoveries import Recoveries
from hostedagent.identity import Caller
from hostedagent.stores.base import Key, StoreUnavailable
from hostedagent.stores.journals import JOURNALS
from hostedagent.stores.leases import CONVERSATION, read_head
from hostedagent.stores.values import write_value
from hostedagent.testing import Gate, ScriptedAgent
from tests.replicas.test_two_hosts import Cluster, begin, ended

pytestmark = pytest.mark.usefixtures("at_once")


async def free(cluster: Cluster, conversation: str) -> None:
    """Free a conversation as if its lease had expired, and another request had acquired and released it since."""
    state, key = cluster.stores("c").state, Key(CONVERSATION, conversation)
    head, etag = await read_head(state, Caller(), key)
    await write_value(state, Caller(), key, replace(head, owner=None), expect=etag)


@pytest.mark.parametrize("is_used", [False, True])
async def test_a_turn_whose_conversation_was_freed_goes_on_unless_another_turn_has_had_it(
    is_used: bool,
) -> None:
    cluster, gate, second = Cluster(), Gate(), ScriptedAgent(*([["Hello."]] * 2))
    async with cluster.pair([ScriptedAgent(["Well."], ["Hel", gate]), second]) as (a, b):
        await a.post("/responses", json={"input": "before", "conversation": "conv_1"})
        response_id = await begin(a, gate, conversation="conv_1")
        await free(cluster, "conv_1")
        if is_used:
            await b.post("/responses", json={"input": "between", "conversation": "conv_1"})
        cluster.dead.add("a")
        whole = await ended(b, response_id)
        await b.post("/responses", json={"input": "more", "conversation": "conv_1"})

    middle = ["between", "Hello."] if is_used else ["hi", "Hello."]
    assert whole["status"] == ("failed" if is_used else "completed")
    assert [message.text for message in second.calls[1].messages] == ["before", "Well.", *middle, "more"]


@pytest.mark.parametrize("reason", ["cannot be read", "fails too often"])
async def test_a_turn_that_is_given_up_frees_its_conversation(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    resume = Recoveries.resume

    async def unreadable(self: Recoveries, *given: Any) -> Any:
        await resume(self, *given)
        raise ValueError("Only a later version can read it.")

    async def away(self: TurnCommit, *given: Any) -> None:
        raise StoreUnavailable("away")

    cluster, gate = Cluster(), Gate()
    agents = [ScriptedAgent(["Hel", gate, "never"]), ScriptedAgent(*[["Well."]] * 2)]
    async with cluster.pair(agents) as (a, b):
        response_id = await begin(a, gate, conversation="conv_1")
        with monkeypatch.context() as patched:
            patched.setattr(takeover, "MOST_TRIES", 1)
            if reason == "cannot be read":
                patched.setattr(Recoveries, "resume", unreadable)
            else:
                patched.setattr(TurnCommit, "commit", away)
            cluster.dead.add("a")
            whole = await ended(b, response_id)
            state = cluster.stores("c").state
            while await state.read(Caller(JOURNALS), [Key("recovery", response_id)]) != [None]:
                await b.get("/readiness")
        reply = await b.post("/responses", json={"input": "more", "conversation": "conv_1"})

    assert (whole["status"], reply.status) == ("failed", 200), reply.text
    assert [message.text for message in agents[1].calls[-1].messages] == ["more"]
