"""The conversation of a turn whose process dies is free already: the turn goes on, unless another one has had it."""

import pytest
from msgspec.structs import replace

from hostedagent.identity import Caller
from hostedagent.stores.base import Key
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
