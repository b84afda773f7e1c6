"""Agents of any make run; what cannot be served is refused at once, with a sentence that says what to write."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any
from unittest.mock import AsyncMock, Mock, create_autospec

import pytest
from agent_framework import (
    Agent,
    AgentContext,
    AgentResponse,
    AgentResponseUpdate,
    AgentSession,
    BaseAgent,
    Content,
    Message,
    SlidingWindowStrategy,
    tool,
)
from agent_framework.openai import OpenAIChatClient

from hostedagent import AgentHost, CallerPolicy, ConfigurationError, HostOptions, memory_stores
from hostedagent.doors import Invocations
from hostedagent.testing import OfflineChatClient, ScriptedAgent
from tests.host.world import hosting, stream


def response(text: str = "hello") -> AgentResponse:
    return AgentResponse(messages=[Message("assistant", [text])])


async def updates(text: str = "hello") -> AsyncIterator[AgentResponseUpdate]:
    yield AgentResponseUpdate(contents=[Content.from_text(text)], role="assistant")


class Custom:
    """An agent whose `run` returns whatever it was made with."""

    id: str = "custom-1"
    name: str | None = "custom"
    description: str | None = None

    def __init__(self, returns: Callable[[], Any]) -> None:
        self._returns = returns

    def run(self, messages: Any = None, *, stream: bool = False, session: Any = None) -> Any:
        return self._returns()

    def create_session(self, *, session_id: str | None = None) -> AgentSession:
        return AgentSession(session_id=session_id)

    def get_session(self, service_session_id: Any, *, session_id: str | None = None) -> AgentSession:
        return AgentSession(session_id=session_id)


def custom(returns: Callable[[], Any]) -> Any:
    return Custom(returns)


class Proxy:
    """Answers for another object, without its type."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def proxied(inner: Any) -> Any:
    return Proxy(inner)


class Later(Awaitable[AgentResponse]):
    """An awaitable of its own kind."""

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return response()


async def whole() -> AgentResponse:
    return response()


async def generator() -> AsyncIterator[AgentResponseUpdate]:
    return updates()


def resolved() -> asyncio.Future[AgentResponse]:
    future: asyncio.Future[AgentResponse] = asyncio.get_running_loop().create_future()
    future.set_result(response())
    return future


RETURNS: dict[str, Callable[[], Any]] = {
    "a task": lambda: asyncio.ensure_future(whole()),
    "a task of a generator": lambda: asyncio.ensure_future(generator()),
    "a future": resolved,
    "an awaitable": Later,
    "a response": response,
    "a generator": updates,
}


@pytest.mark.parametrize("returns", RETURNS.values(), ids=RETURNS)
async def test_run_may_return_any_awaitable_a_response_or_a_stream(returns: Callable[[], Any]) -> None:
    async with hosting(custom(returns)) as http:
        log = await stream(http, temperature=0.5)

    assert (log.status, log.text) == ("completed", "hello")


@pytest.mark.parametrize("wrong", ["hello", None, 3, [response()]])
async def test_what_else_run_returns_is_named_in_the_log(wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with hosting(custom(lambda: wrong)) as http:
        log = await stream(http)

    assert log.status == "failed"
    assert "It must return a ResponseStream" in caplog.text


def bound() -> Any:
    """An agent whose `run` is an attribute of the instance only."""
    agent = Custom(updates)
    bare: Any = type("Bare", (), {"id": "b", "name": "bare", "description": None})()
    bare.create_session, bare.get_session = agent.create_session, agent.get_session
    bare.run = lambda messages=None, *, stream=False: updates()  # pyright: ignore[reportUnknownLambdaType]
    return bare


def replaced() -> Any:
    agent: Any = Agent(OfflineChatClient(script=["from the model"]))
    agent.run = lambda messages=None, **kwargs: updates()  # pyright: ignore[reportUnknownLambdaType]
    return agent


def mocked(kind: type) -> Any:
    agent = Mock(spec=kind)
    agent.run.side_effect = lambda *args, **kwargs: updates()  # pyright: ignore[reportUnknownLambdaType]
    return agent


def autospecced() -> Any:
    agent = create_autospec(ScriptedAgent, instance=True)
    agent.configure_mock(id="m", name="mock", description=None)
    agent.run = AsyncMock(return_value=response())
    return agent


class TakesMessages(Custom):
    """An agent that neither streams nor has a session."""

    async def run(self, messages: Any) -> AgentResponse:  # pyright: ignore[reportIncompatibleMethodOverride]
        return response()


class RunsWithoutMessages(Custom):
    async def run(self) -> AgentResponse:  # pyright: ignore[reportIncompatibleMethodOverride]
        return response()


class NeedsMore(Custom):
    async def run(self, messages: Any = None, *, user: str) -> AgentResponse:  # pyright: ignore[reportIncompatibleMethodOverride]
        return response()


DOUBLES: dict[str, Callable[[], Any]] = {
    "a run of messages alone": lambda: TakesMessages(updates),
    "run bound on the instance": bound,
    "run replaced on an Agent": replaced,
    "a mock with the spec of Agent": lambda: mocked(Agent),
    "a mock with the spec of BaseAgent and run": lambda: mocked(Custom),
    "an autospec with an async run": autospecced,
    "a proxy of an agent": lambda: proxied(Agent(OfflineChatClient(script=["hello", "hello"]))),
    "a proxy of a proxy": lambda: proxied(proxied(Custom(updates))),
}


@pytest.mark.parametrize("make", DOUBLES.values(), ids=DOUBLES)
async def test_doubles_and_proxies_run_with_options_and_tools(make: Callable[[], Any]) -> None:
    async with hosting(make()) as http:
        first = await stream(http, temperature=0.5)
        again = await stream(http, previous_response_id=first.response["id"])

    assert (first.status, first.text, again.text) == ("completed", "hello", "hello")


async def test_a_proxys_middleware_sees_what_is_new_and_two_turns_do_not_mix() -> None:
    seen: list[int] = []

    async def watch(context: AgentContext, call_next: Callable[[], Awaitable[None]]) -> None:
        seen.append(len(context.messages))
        await call_next()

    model = OfflineChatClient(script=["A", "B"])
    async with hosting(proxied(Agent(model, middleware=[watch]))) as http:
        first = await stream(http)
        await stream(http, previous_response_id=first.response["id"])

    assert seen == [1, 1]
    assert model.calls[1].transcript == ["user: hi", "assistant: A", "user: hi"]


async def asked_for() -> Agent[Any]:
    raise NotImplementedError


async def yields() -> AsyncIterator[str]:
    yield "hello"


def yields_at_once() -> Iterator[Agent[Any]]:
    yield Agent(OfflineChatClient())


@contextlib.contextmanager
def manages() -> Generator[Agent[Any]]:
    yield Agent(OfflineChatClient())


class Answers:
    async def __call__(self) -> AsyncIterator[str]:
        yield "hello"


class OnlyRuns:
    async def run(self, messages: Any = None) -> str:
        return "hello"


REFUSED: dict[str, tuple[Any, str]] = {
    "a class that needs arguments": (Agent, r"AgentHost\(Agent\(\.\.\.\)\)"),
    "a class of the framework": (BaseAgent, "got the class BaseAgent"),
    "a class that creates nothing": (HostOptions, "got the class HostOptions"),
    "an async generator function": (yields, "yields yields, and a factory returns"),
    "a generator function": (yields_at_once, "return instead of yield"),
    "a callable that yields": (Answers(), "return instead of yield"),
    "a context manager that is not async": (manages, "asynccontextmanager"),
    "a chat client": (OfflineChatClient(), r"AgentHost\(Agent\(client"),
    "a real chat client": (OpenAIChatClient(model="m", api_key="k"), r"AgentHost\(Agent\(client"),
    "an object that only runs": (OnlyRuns(), "also needs id, name, description, create_session, get_session"),
    "a run without messages": (RunsWithoutMessages(updates), "takes no messages. Write async def run"),
    "a run that needs more": (NeedsMore(updates), "needs user, which no host gives. Write async def run"),
    "a tool": (tool(asked_for, name="look"), r"the tool 'look'.*tools=\["),
    "nothing": (None, "not a 'NoneType'"),
    "a text": ("agent.py", "agent.py"),
}


@pytest.mark.parametrize(("wrong", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_agent_is_refused_with_what_to_write(wrong: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        AgentHost(wrong)


def test_the_result_of_an_async_factory_is_refused_with_what_to_write() -> None:
    called = asked_for()
    with pytest.raises(ConfigurationError, match=r"AgentHost\(create_agent\), not"):
        AgentHost(called)  # pyright: ignore[reportArgumentType]
    called.close()


WRONG_ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "options as a mapping": ({"options": {"history": "replay"}}, r"takes HostOptions\("),
    "a policy as options": ({"options": CallerPolicy()}, r"takes HostOptions\("),
    "the class of options": ({"options": HostOptions}, r"takes HostOptions\("),
    "the function of stores": ({"stores": memory_stores}, r"the result of memory_stores\(\)"),
    "a name of stores": ({"stores": "memory"}, r"the result of memory_stores\(\)"),
    "hooks as a mapping": ({"hooks": {}}, r"takes Hooks\("),
    "a prefix that is no text": ({"prefix": 3}, "takes a path"),
    "a prefix without a slash": ({"prefix": "v1"}, "is a path such as '/agents/writer'"),
    "a resolver that cannot be called": ({"resolve_scope": "user"}, "takes a ScopeResolver"),
    "a driver of another name": ({"driver": "flask"}, "one of agentserver, starlette"),
    "no driver": ({"driver": None}, "one of agentserver, starlette"),
    "a name of a door": ({"doors": "ag_ui"}, "takes doors such as"),
    "the class of a door": ({"doors": [Invocations]}, "takes doors such as"),
    "one door": ({"doors": Invocations()}, r"takes a list: \[Invocations"),
}


@pytest.mark.parametrize(("arguments", "words"), WRONG_ARGUMENTS.values(), ids=WRONG_ARGUMENTS)
def test_wrong_arguments_of_the_host_are_refused_with_what_to_write(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        AgentHost(ScriptedAgent([]), **arguments)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"caller": {"allow_model": True}}, "caller is a CallerPolicy"),
        ({"consent_origins": "https://example.com"}, "consent_origins is a set of texts"),
        ({"consent_origins": {"example.com"}}, "consent_origins has origins such as"),
        ({"allowed_hosts": "example.com"}, "allowed_hosts is a set of texts"),
        ({"allowed_hosts": None}, "allowed_hosts is a set of texts"),
        ({"cors": None}, "cors is a set of texts"),
        ({"compaction": SlidingWindowStrategy}, "compaction is a CompactionStrategy"),
        ({"resilient_background": "yes"}, "resilient_background is True or False"),
        ({"show_intermediate": None}, "show_intermediate is True or False"),
    ],
)
def test_wrong_values_of_options_are_refused_when_they_are_created(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        HostOptions(**values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"allow_server_tools": "mcp"}, "allow_server_tools is a set of texts"),
        ({"allow_server_tools": [3]}, "allow_server_tools is a set of texts"),
        ({"allow_model": "gpt"}, "allow_model is True or False"),
        ({"allow_function_tools": None}, "allow_function_tools is True or False"),
    ],
)
def test_wrong_values_of_a_policy_are_refused_when_it_is_created(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        CallerPolicy(**values)


MADE: dict[str, tuple[Callable[[], Any], str]] = {
    "None": (lambda: None, "Does it end with return agent"),
    "an async generator": (lambda: yields(), "does not yield the answer"),
    "a class": (lambda: Agent, "the class Agent"),
    "an object that only runs": (lambda: OnlyRuns(), "it has no id, name"),
}


@pytest.mark.parametrize(("factory", "words"), MADE.values(), ids=MADE)
async def test_what_a_factory_returned_is_named_in_the_log(
    factory: Callable[[], Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with hosting(factory) as http:
        log = await stream(http)

    assert (log.status, log.response["error"]["code"]) == ("failed", "server_error")
    assert words in caplog.text
