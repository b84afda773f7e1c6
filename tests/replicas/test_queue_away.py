"""Whichever call of the store fails while a turn leaves the queue: it begins, once, and ends as it would have."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from hostedagent.testing import Gate, InProcessClient, ScriptedAgent
from tests.patience import PATIENCE
from tests.replicas.test_store_away import MOST_CALLS, OF_REPLICAS, Failing, Loses, OnFailing, ask, ended, questions
from tests.replicas.test_two_hosts import begin, text

QUEUED = {"input": "hi", "background": True, "conversation": "conv_1"}
LIMITS = {"max_turns": 1, "max_queued": 10, "max_waiting": 1}
OF_THE_QUEUE = ("queue", "queued")


pytestmark = pytest.mark.usefixtures("at_once")


class OfTurns(Failing):
    """A store of which a call fails that is neither of the queue nor of the replicas, whose looks come at any time."""

    uncounted = (*OF_REPLICAS, *OF_THE_QUEUE)


class OfTheQueue(Failing):
    """A store of which a write to the queue fails."""

    def _counts(self, keys: Sequence[Any]) -> None:
        self._is_of_the_queue = any(key.kind in OF_THE_QUEUE for key in keys)
        self.calls += self._is_of_the_queue

    def _fails(self, keys: Sequence[Any], when: Loses) -> None:
        if self._is_of_the_queue:
            super()._fails(keys, when)


async def finished(client: InProcessClient, response_id: str) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        return await ended(client, response_id)


@pytest.mark.parametrize("loses", ["the call", "its answer"])
@pytest.mark.parametrize("kind", [OfTurns, OfTheQueue], ids=["turns", "queue"])
async def test_a_turn_that_waits_begins_once_and_the_next_one_after_it(kind: type[Failing], loses: Loses) -> None:
    for at in range(1, MOST_CALLS):
        store, gate = kind(), Gate()
        agent = ScriptedAgent(["x", gate], *[["Hel", "lo."]] * 8)
        async with OnFailing(store).host("a", agent, **LIMITS) as client:
            first = await begin(client, gate)
            reply = await client.post("/responses", json=QUEUED)
            store.calls, store.at, store.loses = 0, at, loses
            gate.open()
            whole = await finished(client, reply.json()["id"])
            await finished(client, first)
            has_failed, store.at = store.has_failed, 0
            again = await client.post("/responses", json={**QUEUED, "input": "more"})
            last = await finished(client, again.json()["id"])

        assert [(one["status"], text(one)[-1]) for one in (whole, last)] == [("completed", "Hello.")] * 2, at
        said = [message.text for message in agent.calls[-1].messages]
        assert said == ["hi", "Hello.", "more"], at
        if not has_failed:
            break
    else:
        raise AssertionError("The calls of the turn do not end.")


@pytest.mark.parametrize("loses", ["the call", "its answer"])
async def test_an_approval_that_waits_is_used_by_its_turn(loses: Loses) -> None:
    for at in range(1, MOST_CALLS):
        store, gate = OfTurns(), Gate()
        agent = ScriptedAgent([ask(1)], ["x", gate], *[["Hel", "lo."]] * 8)
        async with OnFailing(store).host("a", agent, **LIMITS) as client:
            asked = (await client.post("/responses", json={**QUEUED, "background": False})).json()
            first = await begin(client, gate)
            said = {
                "type": "mcp_approval_response",
                "approval_request_id": questions(asked["output"])[0],
                "approve": True,
            }
            reply = await client.post("/responses", json={**QUEUED, "input": [said]})
            store.calls, store.at, store.loses = 0, at, loses
            gate.open()
            whole = await finished(client, reply.json()["id"])
            await finished(client, first)
            has_failed, store.at = store.has_failed, 0
            again = await client.post("/responses", json={**QUEUED, "background": False, "input": [said]})

        assert (whole["status"], text(whole)[-1]) == ("completed", "Hello."), (at, whole)
        assert again.status == 409 and "answered before" in again.text, (at, again.text)
        if not has_failed:
            break
    else:
        raise AssertionError("The calls of the turn do not end.")
