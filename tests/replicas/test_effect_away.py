"""Effects of turns that go on elsewhere or later, because the store was away or another process has taken the turn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from agent_framework import Agent, Content, tool

from hostedagent import EffectUncertain, current_turn
from hostedagent.engine import takeover
from hostedagent.stores.base import Key
from hostedagent.testing import Gate, OfflineChatClient, ScriptedAgent
from tests.patience import PATIENCE
from tests.replicas.test_store_away import Failing, Loses, OnFailing, ended


class OfEffects(Failing):
    """A store of which a call for an effect fails."""

    def _counts(self, keys: Sequence[Key]) -> None:
        self._is_of_effects = any(key.kind == "effects" for key in keys)
        self.calls += self._is_of_effects

    def _fails(self, keys: Sequence[Key], when: Loses) -> None:
        if self._is_of_effects:
            super()._fails(keys, when)


@pytest.mark.parametrize("loses", ["the call", "its answer"])
async def test_a_tool_whose_effect_the_store_refused_runs_it_when_the_turn_is_resumed(
    loses: Loses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeover, "WATCH_SECONDS", 0.001)
    at, has_failed = 1, True
    while has_failed:
        store, paid = OfEffects(), list[str]()
        store.at, store.loses = at, loses

        @tool
        async def pay(to: str) -> str:
            """Pay."""
            try:
                return str(await current_turn().effect("pay", lambda: paid.append(to)))  # noqa: B023
            except EffectUncertain:
                return "paid" if paid else str(paid.append(to))  # noqa: B023

        def answer(messages: Sequence[Any], _: Any) -> list[Any]:
            results = [
                part.result for message in messages for part in message.contents if part.type == "function_result"
            ]
            if not results:
                return [Content.from_function_call("call_1", "pay", arguments='{"to": "ada"}')]
            return [f"Done: {json.dumps(results)}"]

        agent = Agent(OfflineChatClient(script=[answer] * 12), tools=[pay])
        async with OnFailing(store).host("a", agent) as client:  # type: ignore[arg-type]
            reply = await client.post("/responses", json={"input": "Pay Ada.", "background": True})
            response = await ended(client, reply.json()["id"])
            has_failed = store.has_failed

        assert (response["status"], paid) == ("completed", ["ada"]), (at, response)
        said = [item["content"][0]["text"] for item in response["output"] if item["type"] == "message"]
        assert said[-1] in ('Done: ["None"]', 'Done: ["paid"]'), (at, said)
        at += 1
    assert at > 3


async def test_a_process_that_has_lost_a_turn_performs_no_effect_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, paid, has_ended = Gate(), list[str](), asyncio.Event()

    @tool
    async def pay() -> str:
        """Pay."""
        await gate.wait()
        try:
            return str(await current_turn().effect("pay", lambda: paid.append("twice")))
        finally:
            has_ended.set()

    call = Content.from_function_call("call_1", "pay", arguments="{}")
    slow: Any = Agent(OfflineChatClient(script=[[call], ["Paid."]]), tools=[pay])
    cluster = OnFailing(Failing())
    monkeypatch.setattr(takeover, "WATCH_SECONDS", 1_000.0)  # It notices nothing by itself.
    async with cluster.host("a", slow) as a:
        monkeypatch.setattr(takeover, "WATCH_SECONDS", 0.001)
        async with cluster.host("b", ScriptedAgent(["Paid."])) as b, asyncio.timeout(PATIENCE):
            response_id = (await a.post("/responses", json={"input": "Pay.", "background": True})).json()["id"]
            await gate.reached()
            cluster.dead.add("a")
            whole = await ended(b, response_id)
            cluster.dead.discard("a")  # It was only paused.
            gate.open()
            await has_ended.wait()

    assert (whole["status"], paid) == ("completed", [])
