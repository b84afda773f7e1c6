"""A turn from `created` to its one end: order, endings, and what an ending leaves behind."""

import asyncio
from typing import Any

import pytest
from agent_framework import Agent, AgentResponseUpdate, Content, HistoryProvider, Message
from agent_framework.exceptions import ChatClientContentFilterException, ChatClientInvalidAuthException
from inline_snapshot import snapshot

from hostedagent import HostOptions
from hostedagent.conversation.history.replay import ReplayHistory
from hostedagent.testing import Gate, OfflineChatClient, ScriptedAgent
from tests.host.world import drivers, hosting, stream

SECRET = "secret-4711"
USAGE = Content.from_usage({"input_token_count": 7, "output_token_count": 3, "total_token_count": 10})
LENGTH = AgentResponseUpdate(contents=[], finish_reason="length")


def test_a_case_is_served_by_the_driver_that_it_names(request: pytest.FixtureRequest) -> None:
    assert drivers == [request.node.callspec.params["driver"]]


async def test_a_plain_turn() -> None:
    async with hosting(ScriptedAgent(["Hel", "lo", USAGE])) as client:
        log = await stream(client)

    assert log.lines() == snapshot(
        [
            "0 created in_progress",
            "1 in_progress",
            "2 item+ 0 message",
            "3 part+ 0.0 output_text",
            '4 text 0.0 "Hel"',
            '5 text 0.0 "lo"',
            '6 text= 0.0 "Hello"',
            "7 part- 0.0 output_text",
            "8 item- 0 message completed",
            "9 completed usage=7/3",
        ]
    )


async def test_created_leaves_before_anything_runs() -> None:
    gate = Gate()

    async def factory() -> ScriptedAgent:
        await gate.wait()
        return ScriptedAgent(["ok"])

    async with hosting(factory) as client:
        async with client.stream("POST", "/responses", json={"input": "hi", "stream": True}) as events:
            assert (await anext(events))["type"] == "response.created"
            assert (await anext(events))["type"] == "response.in_progress"
            await gate.reached()
            gate.open()
            log = await events.log()

    assert log.status == "completed"


async def test_an_open_item_is_closed_before_the_turn_fails_and_what_was_made_is_kept() -> None:
    call = Content.from_function_call("c1", "look_up", arguments='{"ci')

    async with hosting(ScriptedAgent(["Sun", USAGE, call, RuntimeError(SECRET)])) as client:
        log = await stream(client)
        stored = (await client.get(f"/responses/{log.response['id']}")).json()

    assert log.status == "failed"
    assert [(item["type"], item["status"]) for item in log.items] == [
        ("message", "completed"),
        ("mcp_call", "incomplete"),
    ]
    assert log.usage is not None and log.usage["total_tokens"] == 10
    assert stored["output"] == log.items
    assert stored["usage"] == log.usage
    assert log.response["error"] == {
        "code": "server_error",
        "message": "The agent failed to produce a response.",
        "type": "server_error",
        "param": None,
    }


async def test_a_text_that_was_cut_off_is_incomplete() -> None:
    async with hosting(ScriptedAgent(["Sun", RuntimeError("no")])) as client:
        log = await stream(client)

    assert [(item["status"], item["content"][0]["text"]) for item in log.items] == [("incomplete", "Sun")]


class RateLimited(Exception):
    status_code = 429


def caused(error: Exception) -> Exception:
    outer = RuntimeError(f"outer {SECRET}")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError(SECRET), "server_error"),
        (AssertionError(SECRET), "server_error"),
        (KeyError(SECRET), "server_error"),
        (TimeoutError(SECRET), "timeout"),
        (ChatClientContentFilterException(SECRET), "content_filter"),
        (ChatClientInvalidAuthException(SECRET), "authentication_error"),
        (RateLimited(SECRET), "rate_limit_exceeded"),
        (caused(RateLimited(SECRET)), "rate_limit_exceeded"),
        (StopAsyncIteration(SECRET), "server_error"),
        (GeneratorExit(SECRET), "server_error"),
        (asyncio.CancelledError(SECRET), "server_error"),
        (ExceptionGroup(SECRET, [ValueError(SECRET)]), "server_error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
@pytest.mark.parametrize("when", ["at once", "later"])
async def test_an_error_fails_the_turn_and_says_nothing_of_itself(
    error: BaseException, code: str, when: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    steps: list[Any] = [error] if when == "at once" else ["Sun", error]

    async with hosting(ScriptedAgent(steps, steps, steps)) as client:
        log = await stream(client)
        plain = await client.post("/responses", json={"input": "hi"})
        assert not client.errors

    assert log.status == "failed"
    assert log.response["error"]["code"] == code
    assert plain.status == 200
    assert plain.json()["error"] == log.response["error"]
    captured = capfd.readouterr()
    for text in (str(log.events), plain.text, captured.out, captured.err, caplog.text):
        assert SECRET not in text


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (Content.from_error(message=SECRET), "server_error"),
        (Content.from_error(message=SECRET, error_code="rate_limit_exceeded"), "rate_limit_exceeded"),
        (Content.from_error(message=SECRET, error_code="content_filter"), "content_filter"),
    ],
)
async def test_an_error_content_fails_the_turn_and_ends_the_run(content: Content, code: str) -> None:
    agent = ScriptedAgent(["Sun", content, "never said"])

    async with hosting(agent) as client:
        log = await stream(client)

    assert (log.status, log.text) == ("failed", "Sun")
    assert log.response["error"]["code"] == code
    assert SECRET not in str(log.events)


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
        ("something_new", "completed", None),
    ],
)
async def test_the_finish_reason_decides(reason: Any, status: str, details: Any) -> None:
    end = AgentResponseUpdate(contents=[], finish_reason=reason)

    async with hosting(ScriptedAgent(["Sun", end])) as client:
        log = await stream(client)

    assert log.status == status
    assert log.response["incomplete_details"] == details
    assert log.text == "Sun"


async def test_only_the_last_model_call_decides() -> None:
    tools = AgentResponseUpdate(contents=[], finish_reason="length")
    end = AgentResponseUpdate(contents=[Content.from_text("ok")], finish_reason="stop")

    async with hosting(ScriptedAgent([tools, end])) as client:
        assert (await stream(client)).status == "completed"


async def test_a_run_without_a_word_is_complete_and_empty() -> None:
    async with hosting(ScriptedAgent([])) as client:
        log = await stream(client)

    assert (log.status, log.items) == ("completed", [])


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_factory_that_raises_fails_the_turn(is_async: bool, caplog: pytest.LogCaptureFixture) -> None:
    def factory() -> ScriptedAgent:
        raise ValueError(SECRET)

    async def async_factory() -> ScriptedAgent:
        raise ValueError(SECRET)

    async with hosting(async_factory if is_async else factory) as client:
        log = await stream(client)

    assert log.status == "failed"
    assert log.response["error"]["code"] == "server_error"
    assert SECRET not in str(log.events) + caplog.text


async def test_a_run_that_says_nothing_new_for_too_long_is_a_timeout() -> None:
    agent = ScriptedAgent(*[["Sun", Gate()]] * 99)

    async with hosting(agent, options=HostOptions(run_timeout=0.3)) as client:
        while not (log := await stream(client)).items:  # The machine itself was too slow to get to the first word.
            pass

    assert (log.status, log.response["error"]["code"]) == ("failed", "timeout")
    assert log.items[0]["status"] == "incomplete"


class Failing(HistoryProvider):
    """A provider of the agent's own that cannot save."""

    def __init__(self) -> None:
        super().__init__("failing", load_messages=False)

    async def get_messages(self, session_id: str | None, **kwargs: Any) -> list[Message]:
        return []

    async def save_messages(self, session_id: str | None, messages: Any, **kwargs: Any) -> None:
        raise OSError(SECRET)


async def test_a_turn_whose_history_cannot_be_saved_has_failed() -> None:
    agent = Agent(OfflineChatClient(script=["Sunny."]), context_providers=[Failing()])

    async with hosting(agent) as client:
        log = await stream(client)

    assert log.status == "failed"
    assert log.text == "Sunny."
    assert SECRET not in str(log.events)


async def test_a_turn_that_the_host_cannot_save_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def after(*args: Any) -> None:
        raise OSError(SECRET)

    monkeypatch.setattr(ReplayHistory, "after", after)

    async with hosting(ScriptedAgent(["Sunny."], ["Sun", LENGTH])) as client:
        logs = [await stream(client) for _ in range(2)]

    for log in logs:
        assert (log.status, log.response["error"]["code"]) == ("failed", "server_error")
        assert SECRET not in str(log.events)
    assert logs[0].text == "Sunny."


class Recorded(HistoryProvider):
    """A provider of the agent's own that counts its calls."""

    def __init__(self) -> None:
        super().__init__("recorded", load_messages=False)
        self.saved: list[list[str]] = []

    async def get_messages(self, session_id: str | None, **kwargs: Any) -> list[Message]:
        return []

    async def save_messages(self, session_id: str | None, messages: Any, **kwargs: Any) -> None:
        self.saved.append([f"{message.role}: {message.text}" for message in messages])


async def test_an_agents_own_history_is_saved_once_at_the_end() -> None:
    provider = Recorded()
    agent = Agent(OfflineChatClient(script=["Sunny."]), context_providers=[provider])

    async with hosting(agent) as client:
        await stream(client)

    assert provider.saved == [["user: hi", "assistant: Sunny."]]


LOOP: list[Any] = []
LOOP.append(LOOP)
UNWRITABLE = {
    "a result": [
        Content.from_function_call("c1", "add", arguments="{}"),
        Content("function_result", call_id="c1", result=LOOP),
    ],
    "the arguments of a call at the end": [Content.from_function_call("c1", "add", arguments={"a": LOOP})],
    "a call beside another": [
        Content.from_function_call("c1", "add", arguments={"a": LOOP}),
        Content.from_function_call("c2", "add", arguments='{"a'),
    ],
    "the result of a service's tool": [Content("mcp_server_tool_result", call_id="m1", output=LOOP)],
}


@pytest.mark.parametrize("contents", UNWRITABLE.values(), ids=UNWRITABLE)
async def test_what_cannot_be_written_fails_the_turn_and_leaves_no_item_open(contents: list[Content]) -> None:
    agent = ScriptedAgent(["Sun.", *contents], ["Sun.", *contents])
    async with hosting(agent) as client:
        log = await stream(client)
        whole = (await client.post("/responses", json={"input": "hi"})).json()

    assert (log.status, whole["status"]) == ("failed", "failed")
    assert log.response["error"]["code"] == "server_error"
    assert log.items[0]["content"][0]["text"] == "Sun."
    assert all(item["status"] == "incomplete" for item in log.items[1:])
