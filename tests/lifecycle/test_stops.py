"""Stopping reaches what runs: tools in an agent and in a workflow, and turns of a host that is closed."""

import asyncio
from pathlib import Path
from typing import Literal

import pytest
from agent_framework import Agent, Content, WorkflowBuilder, tool

from hostedagent import AgentHost, ConfigurationError, HostOptions
from hostedagent.stores.factory import sqlite_stores
from hostedagent.testing import Gate, InProcessClient, OfflineChatClient, serve
from hostedagent.testing.client import Lifespan
from tests.lifecycle.observing import settled
from tests.patience import PATIENCE
from tests.stores import opened

How = Literal["cancelled", "left stream", "left sync"]
CALL = Content.from_function_call("c1", "work", arguments="{}")


class Working:
    """A tool that works until it is stopped, and whoever uses it."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.stopped = asyncio.Event()
        self.model = OfflineChatClient(script=[CALL, "It is done."])

        @tool
        async def work() -> str:
            """Work."""
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.stopped.set()
                raise
            return "done"

        self.tool = work

    def agent(self) -> Agent:
        return Agent(self.model, name="worker", tools=[self.tool])

    def workflow(self) -> WorkflowBuilder:
        return WorkflowBuilder(start_executor=self.agent(), name="flow")


@pytest.mark.parametrize("how", ["cancelled", "left stream", "left sync"])
@pytest.mark.parametrize("serves", ["agent", "workflow"])
async def test_a_tool_that_works_is_stopped_with_its_turn(serves: str, how: How) -> None:
    working = Working()
    ids: list[str] = []
    factory = working.agent if serves == "agent" else working.workflow
    body = {"input": "go", "conversation": "conv_1", "stream": how == "left stream", "background": how == "cancelled"}

    async with opened() as (stores, identified), serve(identified(AgentHost(factory, stores=stores).app)) as client:
        waiting = asyncio.create_task(client.post("/responses", json=body))
        await working.gate.reached()
        if how == "cancelled":
            ids.append((await waiting).json()["id"])
            reply = await client.post(f"/responses/{ids[0]}/cancel")
            assert working.stopped.is_set(), "the tool still worked when the caller was told"
            assert reply.json()["status"] == "cancelled"
        else:
            waiting.cancel()
            async with asyncio.timeout(PATIENCE):
                await working.stopped.wait()
        await client.idle()
        for response_id in ids:
            assert (await settled(client, response_id))["status"] == "cancelled"

    assert len(working.model.calls) == 1


async def test_a_host_that_is_closed_lets_turns_finish_and_takes_no_more(tmp_path: Path) -> None:
    gate = Gate()
    agent = Agent(OfflineChatClient(script=[["Half ", gate, "done"], *["no"] * 1000]))
    app = AgentHost(agent, stores=sqlite_stores(tmp_path / "state.db")).app
    lifespan, client = Lifespan(app, patience=60), InProcessClient(app)
    await lifespan.startup()
    started = (await client.post("/responses", json={"input": "hi", "background": True})).json()
    await gate.reached()

    closing = asyncio.create_task(lifespan.shutdown())
    while (refused := await client.post("/responses", json={"input": "more", "store": False})).status == 200:
        pass
    gate.open()
    await closing

    assert refused.status == 503, refused.text
    async with serve(AgentHost(agent, stores=sqlite_stores(tmp_path / "state.db")).app) as later:
        response = (await later.get(f"/responses/{started['id']}")).json()
    assert (response["status"], response["output"][0]["content"][0]["text"]) == ("completed", "Half done")


@pytest.mark.parametrize("seconds", [-1, 8.5, 20])
def test_a_grace_that_cannot_be_kept_is_refused_when_the_options_are_created(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match=rf"shutdown_grace is a number from 0 to 8, not {seconds}\."):
        HostOptions(shutdown_grace=seconds)
