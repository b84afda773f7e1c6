"""A service that closes its stream before its end has not answered: nothing of it is run, asked or kept."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from agent_framework import FunctionTool, RawAgent, WorkflowBuilder, tool
from hosted import CLIENTS, Hosted, hosting, outline
from tests.stores import opened
from upstream import (
    Closed,
    Incomplete,
    Reasoning,
    Text,
    ToolCall,
    Upstream,
    anthropic_client,
    chat_completion_client,
    responses_client,
    turn,
)

from hostedagent import AgentHost
from hostedagent.options import OwnTools
from hostedagent.testing import serve

CUT = 'failed server_error "The answer of the model\'s service ended before it was complete. Send the request again."'
every_client = pytest.mark.parametrize("connect", CLIENTS.values(), ids=CLIENTS.keys())
every_form = pytest.mark.parametrize("own_tools", ["mcp_call", "function_call", "hidden"])


class Tools:
    """Two tools that would run with anything: one at once, one when it is approved."""

    def __init__(self) -> None:
        self.ran: list[object] = []
        self.look = tool(self._look, name="look")
        self.pay = tool(self._pay, name="pay", approval_mode="always_require")

    @property
    def all(self) -> list[FunctionTool]:
        return [self.look, self.pay]

    def _look(self, city: Annotated[str, "A city"] = "anywhere") -> str:
        """Look out of the window."""
        self.ran.append(city)
        return "sunny"

    def _pay(self, amount: int = 0) -> str:
        """Pay an amount."""
        self.ran.append(amount)
        return "paid"


async def next_prompt(host: Hosted) -> list[str]:
    host.script(Text("Next."))
    await host.then("And?")
    return host.asked


@every_client
async def test_half_a_text_fails_the_turn_and_no_later_prompt_has_it(connect: Any) -> None:
    async with hosting(connect) as host:
        host.script(turn(Text("Once upon a time"), end=Closed()))
        log = await host.ask("Hi")

        assert outline(log)[0] == "0 message incomplete"
        assert outline(log)[1].startswith(CUT)
        assert await next_prompt(host) == ["user: And?"]


@every_client
@pytest.mark.parametrize("at_once", [False, True], ids=["begun", "at once"])
async def test_an_answer_of_nothing_fails_the_turn(connect: Any, at_once: bool) -> None:
    async with hosting(connect) as host:
        host.script(turn(end=Closed(at_once)))
        [end] = outline(await host.ask("Hi"))

        assert end.startswith(CUT)


@pytest.mark.parametrize("connect", [responses_client, anthropic_client])
async def test_reasoning_without_an_answer_fails_the_turn(connect: Any) -> None:
    async with hosting(connect) as host:
        host.script(turn(Reasoning(("Hm.",), encrypted="sealed"), end=Closed()))
        log = await host.ask("Hi")

        assert outline(log)[-1].startswith(CUT)


@every_client
@every_form
@pytest.mark.parametrize("arguments", ['{"city": "Pa', '{"city": "Paris"}', ""], ids=["half", "whole", "none"])
@pytest.mark.parametrize("name", ["look", "pay"])
async def test_no_call_of_half_an_answer_is_run_or_asked(
    connect: Any, own_tools: OwnTools, arguments: str, name: str
) -> None:
    tools = Tools()
    async with hosting(connect, tools=tools.all, own_tools=own_tools) as host:
        host.script(turn(ToolCall(name, arguments), end=Closed()))
        log = await host.ask("Hi")

        assert (log.status, tools.ran, len(host.upstream.requests)) == ("failed", [], 1)
        assert {(item["type"], item["status"]) for item in log.items} <= {
            ("function_call", "incomplete"),
            ("mcp_call", "incomplete"),
        }
        assert await next_prompt(host) == ["user: And?"]


@every_client
async def test_an_answer_that_is_cut_after_a_tool_ran_fails_the_turn(connect: Any) -> None:
    tools = Tools()
    async with hosting(connect, tools=tools.all) as host:
        host.script(turn(ToolCall("look", {"city": "Oslo"})), turn(Text("It is"), end=Closed()))
        log = await host.ask("Hi")

        assert (log.status, tools.ran, log.items[-1]["status"]) == ("failed", ["Oslo"], "incomplete")


@pytest.mark.parametrize("connect", [responses_client, chat_completion_client])
@pytest.mark.parametrize("end", [Incomplete(), None], ids=["at the limit", "as if all was well"])
@every_form
async def test_half_arguments_are_not_run_even_where_the_tool_needs_none(
    connect: Any, end: Any, own_tools: OwnTools
) -> None:
    tools = Tools()
    async with hosting(connect, tools=tools.all, own_tools=own_tools) as host:
        host.script(turn(ToolCall("look", '{"city": "Pa'), end=end), Text("Sorry."))
        log = await host.ask("Hi")

        calls = [item for item in log.items if item["type"] in ("function_call", "mcp_call")]
        assert (log.status, tools.ran) == ("completed", [])
        assert all(item["status"] in ("incomplete", "failed") for item in calls)
        assert host.asked[-1] == "result Error: Argument parsing failed."


@pytest.mark.parametrize("connect", [responses_client, chat_completion_client])
async def test_half_arguments_are_never_asked_about(connect: Any) -> None:
    tools = Tools()
    async with hosting(connect, tools=tools.all) as host:
        host.script(turn(ToolCall("pay", '{"amount": 1')))
        log = await host.ask("Hi")

        assert (log.status, tools.ran) == ("failed", [])
        assert not [item for item in log.items if item["type"] == "mcp_approval_request"]


@every_client
async def test_a_call_without_arguments_is_whole(connect: Any) -> None:
    tools = Tools()
    async with hosting(connect, tools=tools.all, own_tools="mcp_call") as host:
        host.script(turn(ToolCall("look", {}, chunks=("{}",))), Text("Sunny."))
        log = await host.ask("Hi")

        assert (log.status, tools.ran, log.items[0]["arguments"]) == ("completed", ["anywhere"], "{}")


async def answered(agent: Any, upstream: Upstream) -> Any:
    async with (
        opened() as (stores, identified),
        serve(identified(AgentHost(agent, stores=stores).app)) as client,
    ):
        reply = await client.post("/responses", json={"input": "hi"})
        assert len(upstream.requests) == 1
        return reply.json()


@every_client
async def test_an_agent_without_middleware_fails_too(connect: Any) -> None:
    async with Upstream() as upstream:
        upstream.script(turn(Text("Once"), end=Closed()))

        assert (await answered(RawAgent(client=connect(upstream)), upstream))["status"] == "failed"


@every_client
async def test_an_agent_inside_a_workflow_fails_too(connect: Any) -> None:
    async with Upstream() as upstream:
        upstream.script(turn(Text("Once"), end=Closed()))

        def build() -> Any:
            return WorkflowBuilder(start_executor=RawAgent(client=connect(upstream), name="a"), name="w").build()

        assert (await answered(build, upstream))["status"] == "failed"
