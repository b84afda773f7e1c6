"""Where a turn's agent comes from: instances that never change, factories, workflows, agents of any make."""

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, cast

import pytest
from agent_framework import (
    Agent,
    AgentContext,
    AgentResponse,
    AgentResponseUpdate,
    AgentSession,
    Content,
    ResponseStream,
    WorkflowBuilder,
    agent_middleware,
    tool,
)
from agent_framework.exceptions import UserInputRequiredException

from hostedagent import AgentHost, ConfigurationError, HostOptions, TurnRequest
from hostedagent.testing import Gate, OfflineChatClient, ScriptedAgent
from tests.host.world import begun, hosting, stream, time_limit
from tests.patience import PATIENCE


class Custom:
    """An agent of its own make, in the ways that `SupportsAgentRun` leaves open."""

    id, name, description = "custom-1", "custom", None

    def create_session(self, *, session_id: str | None = None) -> AgentSession:
        return AgentSession(session_id=session_id)

    def get_session(self, service_session_id: Any, *, session_id: str | None = None) -> AgentSession:
        return AgentSession(session_id=session_id, service_session_id=service_session_id)

    async def updates(self) -> AsyncIterator[AgentResponseUpdate]:
        yield AgentResponseUpdate(contents=[Content.from_text("custom")], role="assistant")


class Generating(Custom):
    async def run(self, messages: Any = None, *, stream: bool = False, session: Any = None) -> Any:
        async for update in self.updates():
            yield update


class Coroutine(Custom):
    async def run(self, messages: Any = None, *, stream: bool = False, session: Any = None) -> Any:
        return self.updates()


class Streaming(Custom):
    def run(self, messages: Any = None, *, stream: bool = False, **kwargs: Any) -> Any:
        return ResponseStream(self.updates(), finalizer=AgentResponse.from_updates)


class Strict(Custom):
    def run(self, messages: Any = None, *, stream: bool = False) -> Any:
        return self.updates()


class Whole(Custom):
    """An agent that cannot stream, and does not look whether it was asked to."""

    async def run(self, messages: Any = None, *, stream: bool = False) -> Any:
        return AgentResponse.from_updates([update async for update in self.updates()])


@pytest.mark.parametrize("kind", [Generating, Coroutine, Streaming, Strict, Whole])
async def test_any_agent_runs(kind: type[Custom]) -> None:
    agent: Any = kind()

    async with hosting(agent) as client:
        log = await stream(client, temperature=0.5, tools=[{"type": "function", "name": "f"}])

    assert (log.status, log.text) == ("completed", "custom")


def plain() -> ScriptedAgent:
    return ScriptedAgent(["ok"])


async def asynchronous() -> ScriptedAgent:
    return ScriptedAgent(["ok"])


def of_request(request: TurnRequest) -> ScriptedAgent:
    return ScriptedAgent([f"{request.metadata['who']} {request.response_id[:7]}"])


async def asynchronous_of_request(request: TurnRequest) -> ScriptedAgent:
    return of_request(request)


class Callable:
    async def __call__(self, request: TurnRequest) -> ScriptedAgent:
        return of_request(request)


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (plain, "ok"),
        (asynchronous, "ok"),
        (of_request, "Ann caresp_"),
        (asynchronous_of_request, "Ann caresp_"),
        (Callable(), "Ann caresp_"),
        (lambda: ScriptedAgent(["ok"]), "ok"),
    ],
)
async def test_a_factory_makes_an_agent_for_each_turn(factory: Any, said: str) -> None:
    async with hosting(factory) as client:
        logs = [await stream(client, metadata={"who": "Ann"}) for _ in range(2)]

    assert [log.text for log in logs] == [said, said]


class Closing(ScriptedAgent):
    """Counts how often it is closed, and says what ended the run."""

    def __init__(self, *steps: Any, breaks: bool = False) -> None:
        super().__init__(list(steps))
        self.closed = 0
        self.is_closed = asyncio.Event()
        self.breaks = breaks

    async def close(self) -> None:
        self.closed += 1
        self.is_closed.set()
        if self.breaks:
            raise OSError("cannot close")


@pytest.mark.parametrize("breaks", [False, True])
@pytest.mark.parametrize(
    ("steps", "status"),
    [
        (["ok"], "completed"),
        (["Sun", RuntimeError("no")], "failed"),
        ([Content.from_error(message="no"), "never"], "failed"),
        ([Gate()], "failed"),
    ],
    ids=["success", "failure", "error content", "timeout"],
)
async def test_an_agent_from_a_factory_is_closed_whatever_the_end(steps: Any, status: str, breaks: bool) -> None:
    agent = Closing(*steps, breaks=breaks)

    async with hosting(lambda: agent, options=HostOptions(run_timeout=time_limit(steps))) as client:
        log = await stream(client)

        assert log.status == status
        assert agent.closed == 1


async def test_an_agent_from_a_factory_is_closed_when_the_turn_is_cancelled() -> None:
    gate = Gate()
    agent = Closing("Sun", gate)

    async with hosting(lambda: agent) as client:
        response_id = await begun(client, gate)
        await client.post(f"/responses/{response_id}/cancel")
        async with asyncio.timeout(PATIENCE):
            await agent.is_closed.wait()

    assert agent.closed == 1


async def test_a_factory_that_needs_consent_asks_for_it() -> None:
    def factory() -> ScriptedAgent:
        asked = [Content.from_oauth_consent_request("https://login.example/consent")]
        raise UserInputRequiredException(contents=asked)

    options = HostOptions(consent_origins=frozenset({"https://login.example"}), consent="item")
    async with hosting(factory, options=options) as client:
        log = await stream(client)

    assert (log.status, log.response["incomplete_details"]) == ("incomplete", {"reason": "consent_required"})
    assert [item["type"] for item in log.items] == ["oauth_consent_request"]


async def test_a_factory_that_is_stopped_may_clean_up() -> None:
    gate, cleaned_up = Gate(), asyncio.Event()

    async def factory() -> ScriptedAgent:
        try:
            await gate.wait()
        finally:
            for _ in range(20):
                await asyncio.sleep(0)
            cleaned_up.set()
        raise AssertionError

    async with hosting(factory) as client:
        response_id = await begun(client, gate)
        await client.post(f"/responses/{response_id}/cancel")
        async with asyncio.timeout(PATIENCE):
            await cleaned_up.wait()


async def test_an_agent_that_is_made_after_its_turn_was_stopped_is_closed_and_never_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hostedagent.agents.pump.STOP_SECONDS", 0)
    reached, too_late = asyncio.Event(), asyncio.Event()
    ran: list[Any] = []

    class Late(Closing):
        def run(self, *args: Any, **kwargs: Any) -> Any:
            ran.append(args)
            return super().run(*args, **kwargs)

    agent = Late("never")

    async def factory() -> ScriptedAgent:
        reached.set()
        while not too_late.is_set():
            with suppress(asyncio.CancelledError):  # It does not listen.
                await too_late.wait()
        return agent

    async with hosting(factory) as client:
        started = (await client.post("/responses", json={"input": "hi", "background": True})).json()
        async with asyncio.timeout(PATIENCE):
            await reached.wait()
        await client.post(f"/responses/{started['id']}/cancel")
        too_late.set()
        async with asyncio.timeout(PATIENCE):
            await agent.is_closed.wait()

    assert (agent.closed, ran) == (1, [])


@pytest.mark.one_replica("each replica closes the agent that it has, and these have the same")
async def test_an_instance_is_closed_at_the_end_of_the_process_and_not_before() -> None:
    agent = Closing("ok")

    async with hosting(agent) as client:
        await stream(client)
        assert agent.closed == 0

    assert agent.closed == 1


@tool
def look_up(city: str) -> str:
    """Look it up."""
    return city


async def test_an_instance_is_never_changed() -> None:
    agent = Agent(OfflineChatClient(), name="a", instructions="Be brief.", tools=[look_up])

    def state() -> dict[str, Any]:
        rows: dict[str, Any] = vars(agent)
        public = {key: value for key, value in rows.items() if not key.startswith("_")}  # The rest is its own cache.
        return {key: copy.copy(value) if type(value) in (list, dict) else value for key, value in public.items()}

    before, providers, options = state(), list(agent.context_providers), repr(agent.default_options)

    async with hosting(agent) as client:
        for fields in ({}, {"store": False}, {"store": True, "conversation": "conv_1"}, {"temperature": 0.5}):
            mine = {"tools": [{"type": "function", "name": "f"}]}
            assert (await stream(client, **cast("dict[str, Any]", fields), **mine)).status == "completed"

    assert state() == before
    assert list(agent.context_providers) == providers
    assert repr(agent.default_options) == options


@agent_middleware
async def passes(context: AgentContext, call_next: Any) -> None:
    """Changes nothing, but needs a session."""
    await call_next()


async def test_an_agent_from_a_factory_is_run_itself() -> None:
    class Counting(Agent[Any]):
        runs = 0

        def run(self, *args: Any, **kwargs: Any) -> Any:
            self.runs += 1
            inner: Any = super()
            return inner.run(*args, **kwargs)

    made: list[Counting] = []

    def factory() -> Counting:
        made.append(Counting(OfflineChatClient(), middleware=[passes]))
        return made[-1]

    async with hosting(factory) as client:
        assert (await stream(client)).status == "completed"

    assert [agent.runs for agent in made] == [1]


def workflow(*texts: str) -> Any:
    client = OfflineChatClient(script=list(texts))
    first = Agent(client, name="first")
    return WorkflowBuilder(start_executor=first, name="flow", output_from=[first])


@pytest.mark.parametrize(
    "make",
    [
        lambda: workflow("sunny"),
        lambda: workflow("sunny").build(),
        lambda: workflow("sunny").build().as_agent(),
    ],
    ids=["builder", "workflow", "workflow agent"],
)
async def test_a_factory_may_make_a_workflow(make: Any) -> None:
    async with hosting(make) as client:
        logs = [await stream(client) for _ in range(2)]

    assert [(log.status, log.text) for log in logs] == [("completed", "sunny")] * 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: workflow("sunny"),
        lambda: workflow("sunny").build(),
        lambda: workflow("sunny").build().as_agent(),
    ],
    ids=["builder", "workflow", "workflow agent"],
)
def test_a_workflow_that_would_serve_many_turns_is_refused(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="function that builds a fresh one"):
        AgentHost(make())


def two(first: int, second: int) -> ScriptedAgent:
    raise NotImplementedError


def named(*, request: Any) -> ScriptedAgent:
    raise NotImplementedError


@pytest.mark.parametrize("wrong", [None, "agent", 1, two, named, object()])
def test_what_cannot_be_served_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        AgentHost(wrong)


async def test_a_factory_that_makes_something_else_fails_the_turn() -> None:
    factory: Any = lambda: "an agent"  # noqa: E731

    async with hosting(factory) as client:
        log = await stream(client)

    assert (log.status, log.response["error"]["code"]) == ("failed", "server_error")


async def test_a_class_that_makes_agents_is_a_factory() -> None:
    class Fresh(ScriptedAgent):
        def __init__(self) -> None:
            super().__init__(["fresh"])

    async with hosting(Fresh) as client:
        assert [(await stream(client)).text for _ in range(2)] == ["fresh", "fresh"]
