"""Consent that is asked for while a factory creates the agent: the turn asks, and the one that continues it runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from agent_framework import Agent, Content, SupportsAgentRun, tool
from agent_framework.exceptions import UserInputRequiredException
from mcp.shared.exceptions import MCPError

from hostedagent import AgentHost, HostOptions, memory_stores
from hostedagent.host import Driver
from hostedagent.options import Consent
from hostedagent.testing import InProcessClient, OfflineChatClient, ScriptedAgent, serve
from tests.clients_matrix.desk import workflow
from tests.mcp.turns import ORIGINS, call, text

LINK = "https://login.example/consent?code=s3cret"
ERRORS: dict[str, Exception] = {
    "as MCP": MCPError(-32006, LINK),
    "as Agent Framework": UserInputRequiredException(contents=[Content.from_oauth_consent_request(LINK)]),
    "inside another error": ExceptionGroup("tasks", [MCPError(-32006, LINK)]),
}

drivers = pytest.mark.parametrize("driver", ["agentserver", "starlette"])


class Door:
    """A factory that cannot create its agent until the user has agreed."""

    def __init__(self, agent: Any, error: Exception = ERRORS["as MCP"]) -> None:
        self.agent = agent
        self.error = error
        self.is_open = False

    @asynccontextmanager
    async def enter(self) -> AsyncGenerator[SupportsAgentRun]:
        if not self.is_open:
            raise self.error
        made: Any = self.agent() if callable(self.agent) else self.agent
        yield made


@asynccontextmanager
async def serving(door: Door, driver: Driver, consent: Consent = "item") -> AsyncGenerator[InProcessClient]:
    options = HostOptions(consent_origins=ORIGINS, consent=consent)
    async with serve(AgentHost(door.enter, options=options, stores=memory_stores(), driver=driver).app) as client:
        yield client


@drivers
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", ["response", "conversation"])
@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
async def test_the_turn_asks_and_the_next_one_has_the_whole_conversation(
    error: Exception, way: str, stream: bool, driver: Driver
) -> None:
    agent = ScriptedAgent(["It rains."])
    door = Door(agent, error)
    async with serving(door, driver) as client:
        fields: dict[str, Any] = {"conversation": "conv_1"} if way == "conversation" else {}
        reply = await client.post("/responses", json={"input": "the weather?", "stream": stream, **fields})
        asked: Any = reply.log().response if stream else reply.json()
        door.is_open = True
        if way == "response":
            fields = {"previous_response_id": asked["id"]}
        answer = (await client.post("/responses", json={"input": "done", **fields})).json()

    assert (asked["status"], asked["incomplete_details"]) == ("incomplete", {"reason": "consent_required"})
    assert [item["consent_link"] for item in asked["output"]] == [LINK]
    assert (answer["status"], text(answer)) == ("completed", "It rains.")
    said = [message.text for message in agent.calls[0].messages]
    assert (said[0], said[-1]) == ("the weather?", "done") and "consent" in said[1] and LINK not in "".join(said)


@drivers
async def test_an_approval_that_came_with_the_turn_can_be_given_again(driver: Driver) -> None:
    deleted: list[str] = []

    @tool(approval_mode="always_require")
    def delete(path: str) -> str:
        """Delete a file."""
        deleted.append(path)
        return "deleted"

    client_of_model = OfflineChatClient(script=[call("delete", path="a"), "Done."])
    door = Door(lambda: Agent(client_of_model, name="filer", tools=[delete]))
    door.is_open = True
    async with serving(door, driver) as client:
        first = (await client.post("/responses", json={"input": "delete a"})).json()
        [question] = [item for item in first["output"] if item["type"] == "mcp_approval_request"]
        agreed = {"type": "mcp_approval_response", "approval_request_id": question["id"], "approve": True}
        body = {"input": [agreed], "previous_response_id": first["id"]}
        door.is_open = False
        asked = (await client.post("/responses", json=body)).json()
        door.is_open = True
        answer = (await client.post("/responses", json=body)).json()

    assert asked["incomplete_details"] == {"reason": "consent_required"}
    assert (answer["status"], text(answer), deleted) == ("completed", "Done.", ["a"])


@drivers
async def test_a_workflow_that_waits_is_answered_after_consent(driver: Driver) -> None:
    door = Door(lambda: workflow(ScriptedAgent(["Order 7 is refunded."])))
    door.is_open = True
    async with serving(door, driver) as client:
        first = (await client.post("/responses", json={"input": "refund 7"})).json()
        [question] = [item for item in first["output"] if item["type"] == "function_call"]
        body = {
            "input": [{"type": "function_call_output", "call_id": question["call_id"], "output": "true"}],
            "previous_response_id": first["id"],
        }
        door.is_open = False
        asked = (await client.post("/responses", json=body)).json()
        door.is_open = True
        answer = (await client.post("/responses", json=body)).json()

    assert asked["incomplete_details"] == {"reason": "consent_required"}
    assert (answer["status"], text(answer)) == ("completed", "Order 7 is refunded.")


@drivers
@pytest.mark.parametrize("stream", [False, True])
async def test_as_a_message_it_is_read_by_clients_that_do_not_know_the_item(stream: bool, driver: Driver) -> None:
    agent = ScriptedAgent(["It rains."])
    door = Door(agent)
    async with serving(door, driver, "message") as client:
        reply = await client.post("/responses", json={"input": "the weather?", "stream": stream})
        asked: Any = reply.log().response if stream else reply.json()
        door.is_open = True
        body = {"input": "done", "previous_response_id": asked["id"]}
        answer = (await client.post("/responses", json=body)).json()

    assert (asked["status"], [item["type"] for item in asked["output"]]) == ("completed", ["message"])
    assert text(asked) == f'A tool needs your consent. Open this link, then send any message, such as "done": {LINK}'
    assert (answer["status"], text(answer)) == ("completed", "It rains.")
    said = [message.text for message in agent.calls[0].messages]
    assert len(said) == 3 and "consent" in said[1] and LINK not in "".join(said)
