"""Agents inside a workflow: what their clients would leave out of a request, their models read as a line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agent_framework import (
    Agent,
    ChatContext,
    ChatMiddleware,
    Content,
    Message,
    RawAgent,
    WorkflowBuilder,
    WorkflowExecutor,
    tool,
    workflow,
)
from agent_framework.orchestrations import MagenticBuilder

from hostedagent import AgentHost
from hostedagent.agents.sendable import SENDABLE
from hostedagent.testing import OfflineChatClient, serve
from tests.clients.upstream import Text, ToolCall, Upstream, anthropic_client, chat_completion_client, responses_client

NOT_GIVEN = "cannot be given such a file"
FILE: dict[str, Any] = {"type": "input_file", "file_id": "file_1"}
ASKED = [{"role": "user", "content": [FILE, {"type": "input_text", "text": "What is this?"}]}]
CLIENTS: dict[str, Any] = {"chat": chat_completion_client, "anthropic": anthropic_client, "responses": responses_client}


class Seen(ChatMiddleware):
    """A developer's own middleware."""

    def __init__(self) -> None:
        self.calls = 0

    async def process(self, context: ChatContext, call_next: Any) -> None:
        self.calls += 1
        await call_next()


async def asked(factory: Any, *, given: Any = ASKED, turns: int = 1) -> None:
    async with serve(AgentHost(factory).app) as client:
        for _ in range(turns):
            reply = await client.post("/responses", json={"input": given})
            assert reply.json()["status"] == "completed", reply.json()


def alone(agent: Any) -> WorkflowBuilder:
    return WorkflowBuilder(start_executor=agent, name="flow")


def nested(agent: Any) -> WorkflowBuilder:
    return WorkflowBuilder(start_executor=WorkflowExecutor(alone(agent).build(), id="inner"), name="outer")


@pytest.mark.parametrize("build", [alone, nested])
@pytest.mark.parametrize("kind", [Agent, RawAgent])
@pytest.mark.parametrize("name", CLIENTS)
async def test_a_file_is_sent_or_named(build: Any, kind: Any, name: str) -> None:
    async with Upstream() as upstream:
        upstream.script(Text("A report."))
        await asked(lambda: build(kind(client=CLIENTS[name](upstream), name="reader")))
        sent = json.dumps(upstream.requests[-1])
    assert "file_1" in sent
    assert (NOT_GIVEN in sent) == (name != "responses")


async def test_the_output_of_an_inner_agents_tool_is_named() -> None:
    @tool
    def look() -> list[Content]:
        """Look."""
        return [Content.from_text("Seen:"), Content.from_hosted_file("file_2")]

    async with Upstream() as upstream:
        upstream.script(ToolCall("look", {}), Text("A report."))
        await asked(
            lambda: alone(Agent(client=chat_completion_client(upstream), name="reader", tools=[look])), given="Look."
        )
        assert NOT_GIVEN in json.dumps(upstream.requests[-1])


async def test_agents_that_several_turns_share_keep_their_own_middleware_and_get_one_more() -> None:
    seen = Seen()
    async with Upstream() as upstream:
        upstream.script(Text("One."), Text("Two."))
        shared = Agent(client=chat_completion_client(upstream), name="reader", middleware=[seen])
        await asked(lambda: alone(shared), turns=2)
        assert [NOT_GIVEN in json.dumps(request) for request in upstream.requests] == [True, True]
    assert seen.calls == 2
    assert shared.middleware is not None and len(shared.middleware) == 2


async def test_a_client_that_several_turns_share_gets_one_middleware() -> None:
    async with Upstream() as upstream:
        upstream.script(Text("One."), Text("Two."))
        client = chat_completion_client(upstream)
        await asked(lambda: alone(RawAgent(client=client, name="reader")), turns=2)
        assert [NOT_GIVEN in json.dumps(request) for request in upstream.requests] == [True, True]
    assert len(client.chat_middleware) == 1


def inside_a_function(agent: Any) -> Any:
    @workflow
    async def reading(messages: list[Message]) -> str:
        return (await agent.run(messages)).text

    return reading


def as_manager(agent: Any) -> Any:
    person = Agent(client=OfflineChatClient(), name="person")
    return lambda: MagenticBuilder(participants=[person], manager_agent=agent).build()


@pytest.mark.parametrize("middleware", [[], [SENDABLE]], ids=["left out", "named"])
@pytest.mark.parametrize("hide", [inside_a_function, as_manager])
async def test_an_agent_that_a_workflow_hides_names_files_with_the_middleware(hide: Any, middleware: list[Any]) -> None:
    async with Upstream(raises_at_exit=False) as upstream:
        upstream.script(*[Text("A report.")] * 3)
        agent = Agent(client=chat_completion_client(upstream), name="reader", middleware=middleware)
        async with serve(AgentHost(hide(agent)).app) as client:
            await client.post("/responses", json={"input": ASKED})

        assert (NOT_GIVEN in json.dumps(upstream.requests[0])) == bool(middleware)
