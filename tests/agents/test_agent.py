"""The arguments of a run: only what the agent's `run` takes, and what its chat client has."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from agent_framework import Agent, AgentResponseUpdate, AgentSession, Message, tool

from hostedagent import CallerPolicy, TurnRequest
from hostedagent.agents.run import check_tools, model_name, start_run, tool_names, tool_roles
from hostedagent.errors import InvalidRequest
from hostedagent.testing import OfflineChatClient, ScriptedAgent

MINE = {"type": "function", "name": "mine"}
REQUEST = TurnRequest.parse({"input": "hi", "temperature": 0.5, "tools": [MINE]}, CallerPolicy())
PLAIN = TurnRequest.parse({"input": "hi"}, CallerPolicy())
MESSAGES = [Message("user", ["hi"])]


class Recorded:
    """Keeps the arguments of its run."""

    given: Any = None

    def answer(self, given: Any) -> AsyncIterator[AgentResponseUpdate]:
        self.given = given
        return no_updates()


async def no_updates() -> AsyncGenerator[AgentResponseUpdate]:
    return
    yield


class Everything(Recorded):
    def run(self, messages: Any, *, stream: bool, session: Any = None, tools: Any = None, options: Any = None) -> Any:
        return self.answer({"session": session, "tools": tools, "options": options})


class Nothing(Recorded):
    def run(self, messages: Any, *, stream: bool) -> Any:
        return self.answer({})


class Anything(Recorded):
    def run(self, messages: Any, **kwargs: Any) -> Any:
        return self.answer(kwargs)


async def arguments(agent: Any, request: TurnRequest, *, session: Any = None, keeps_history: bool = True) -> Any:
    await start_run(agent, MESSAGES, request, session=session, keeps_history=keeps_history)
    return agent.given


@pytest.mark.parametrize("kind", [Everything, Anything])
async def test_an_agent_gets_what_its_run_takes(kind: type) -> None:
    session = AgentSession()

    given = await arguments(kind(), REQUEST, session=session)

    assert given["session"] is session
    assert [function.name for function in given["tools"]] == ["mine"]
    assert given["options"] == {"temperature": 0.5}


async def test_an_agent_whose_run_takes_nothing_gets_nothing() -> None:
    assert await arguments(Nothing(), REQUEST, session=AgentSession()) == {}


async def test_what_there_is_not_is_left_out() -> None:
    assert await arguments(Anything(), PLAIN) == {"stream": True}


class Storing:
    STORES_BY_DEFAULT = True


@pytest.mark.parametrize(("keeps_history", "options"), [(True, {"store": False}), (False, None)])
async def test_a_service_keeps_no_second_copy_of_the_conversation(keeps_history: bool, options: Any) -> None:
    agent: Any = Anything()
    agent.client = Storing()

    assert (await arguments(agent, PLAIN, keeps_history=keeps_history)).get("options") == options


async def test_the_messages_are_the_agents_to_change() -> None:
    class Greedy(Recorded):
        def run(self, messages: list[Message], **kwargs: Any) -> Any:
            messages.clear()
            return self.answer(kwargs)

    await arguments(Greedy(), PLAIN)

    assert len(MESSAGES) == 1


@tool
def mine() -> str:
    """Mine."""
    return ""


@tool(approval_mode="always_require")
def guarded() -> str:
    """Ask first."""
    return ""


def test_a_callers_tool_must_not_take_the_name_of_the_agents() -> None:
    agent = Agent(OfflineChatClient(), tools=[mine, guarded])

    assert tool_names(agent) == {"mine", "guarded"}
    assert tool_roles(agent, PLAIN).asking == {"guarded"}
    with pytest.raises(InvalidRequest, match="'mine'"):
        check_tools(agent, REQUEST)
    check_tools(agent, PLAIN)


def test_a_callers_choice_must_be_a_tool_that_the_agent_has() -> None:
    agent = Agent(OfflineChatClient(), tools=[mine])

    def choose(name: str) -> TurnRequest:
        choice = {"type": "function", "name": name}
        return TurnRequest.parse({"input": "hi", "tool_choice": choice}, CallerPolicy())

    check_tools(agent, choose("mine"))
    with pytest.raises(InvalidRequest, match="'other' names no tool"):
        check_tools(agent, choose("other"))


def test_the_model_is_known_where_the_client_says_it() -> None:
    assert model_name(Agent(OfflineChatClient(model="m"))) == "m"
    assert model_name(ScriptedAgent()) is None
