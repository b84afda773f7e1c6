"""A process dies just after it has begun a turn that another one had begun and ended in the meantime."""

from typing import Any

import pytest
from msgspec.structs import replace

from hostedagent.identity import Caller
from hostedagent.stores.background import BackgroundTurns
from hostedagent.stores.factory import Stores
from hostedagent.stores.journals import Journal
from hostedagent.stores.sessions import Sessions
from hostedagent.testing import ScriptedAgent
from tests.replicas.test_store_away import ask, questions
from tests.replicas.test_two_hosts import Cluster, ended

pytestmark = pytest.mark.usefixtures("at_once")


async def begin_again(stores: Stores, response_id: str, journal: Journal, request: bytes) -> None:
    """Begin a turn in a process that was too late, and has the conversation."""
    lease = await Sessions(stores.state, stores.leases).acquire(Caller(), "conv_1")
    again = replace(journal, lease=lease.owner, version=lease.head.version)
    turns = BackgroundTurns(stores.state, stores.leases)
    await turns.join()
    await turns.begin(Caller(), response_id, again, request)


async def test_what_the_turn_has_left_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[str, Journal, bytes]] = []
    begin = BackgroundTurns.begin

    async def noted(turns: BackgroundTurns, caller: Caller, *given: Any) -> None:
        begun.append(given)
        await begin(turns, caller, *given)

    monkeypatch.setattr(BackgroundTurns, "begin", noted)
    cluster = Cluster()
    async with cluster.host("a", ScriptedAgent([ask(1)], ["Paid."])) as a:
        body = {"input": "pay", "conversation": "conv_1", "background": True}
        asked = await ended(a, (await a.post("/responses", json=body)).json()["id"])
        await begin_again(cluster.stores("c"), *begun[0])
        cluster.dead.add("c")
        state = BackgroundTurns(cluster.stores("d").state, cluster.stores("d").leases)
        while await state.find(Caller(), asked["id"]) is not None:
            await a.get(f"/responses/{asked['id']}")
        (question,) = questions(asked["output"])
        yes = {"type": "mcp_approval_response", "approval_request_id": question, "approve": True}
        reply = await a.post("/responses", json={"input": [yes], "conversation": "conv_1"})

    assert (reply.status, asked["status"]) == (200, "completed"), reply.body
