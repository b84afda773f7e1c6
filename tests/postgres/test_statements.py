"""What a turn costs the database, in statements."""

from __future__ import annotations

import pytest

from hostedagent import AgentHost
from hostedagent.host import Driver
from hostedagent.stores.postgres.database import Database, Parameters, Rows
from hostedagent.testing import ScriptedAgent, serve
from tests.postgres.server import postgres

PLAIN = 2
CHAINED = 4
IN_A_CONVERSATION = {"agentserver": 5, "starlette": 8}


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
async def test_a_stored_turn_costs_few_statements(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = 0
    rows = Database.rows

    async def counting(self: Database, text: str, parameters: Parameters = (), *, repeats: bool = False) -> Rows:
        nonlocal counted
        counted += 1
        return await rows(self, text, parameters, repeats=repeats)

    monkeypatch.setattr(Database, "rows", counting)
    with postgres() as stores:
        async with serve(AgentHost(ScriptedAgent("a", "b", "c"), stores=stores, driver=driver).app) as client:
            costs: list[int] = []
            previous: dict[str, str] = {}
            for more in ({}, previous, {"conversation": "conv_1"}):
                counted = 0
                reply = await client.post("/responses", json={"input": "hi", **more})
                assert reply.status == 200, reply.body
                previous["previous_response_id"] = reply.json()["id"]
                costs.append(counted)

    assert costs[0] <= PLAIN and costs[1] <= CHAINED and costs[2] <= IN_A_CONVERSATION[driver], costs
