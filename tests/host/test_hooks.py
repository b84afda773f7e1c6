"""The hooks of a host: what they may change, when they are called, and what their errors come to."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from typing import Any

import pytest
from agent_framework import AgentResponseUpdate, Content

from hostedagent import (
    AgentHost,
    Cancelled,
    Completed,
    Failed,
    Hooks,
    HostOptions,
    Incomplete,
    RequestError,
    TurnRequest,
    current_turn,
)
from hostedagent.agents.source import AgentFactory
from hostedagent.engine.hooks import transformed
from hostedagent.outcomes import Outcome
from hostedagent.testing import EventLog, Gate, ScriptedAgent, serve
from tests.host.world import begun, stream
from tests.patience import PATIENCE

SECRET = "secret-4711"
USAGE = Content.from_usage({"input_token_count": 7, "output_token_count": 3, "total_token_count": 10})


def host(agent: Any, options: HostOptions | None = None, **given: Any) -> Any:
    return serve(AgentHost(agent, hooks=Hooks(**given), options=options).app)


async def one_turn(agent: Any, **given: Any) -> EventLog:
    async with host(agent, **given) as client:
        return await stream(client)


class Told:
    """An `on_outcome` that remembers."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.outcomes: list[Outcome] = []
        self.requests: list[TurnRequest] = []
        self.was_told = asyncio.Event()
        self.error = error

    async def __call__(self, request: TurnRequest, outcome: Outcome) -> None:
        assert current_turn() is request
        self.requests.append(request)
        self.outcomes.append(outcome)
        self.was_told.set()
        if self.error is not None:
            raise self.error


def renamed(request: TurnRequest) -> TurnRequest:
    return replace(request, metadata={"who": "Ann"})


async def renamed_later(request: TurnRequest) -> TurnRequest:
    return renamed(request)


@pytest.mark.parametrize("hook", [renamed, renamed_later])
async def test_before_run_replaces_the_request_before_the_agent_is_made(hook: Any) -> None:
    def factory(request: TurnRequest) -> ScriptedAgent:
        return ScriptedAgent([f"{request.metadata['who']} {current_turn().metadata['who']}"])

    made: AgentFactory = factory
    assert (await one_turn(made, before_run=hook)).text == "Ann Ann"


async def test_before_run_may_leave_the_request_as_it_is() -> None:
    def look(request: TurnRequest) -> None:
        assert request.input

    assert (await one_turn(ScriptedAgent(["ok"]), before_run=look)).text == "ok"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RequestError("Ask somebody else."), {"code": "invalid_prompt", "message": "Ask somebody else."}),
        (ValueError(SECRET), {"code": "server_error", "message": "The agent failed to produce a response."}),
    ],
)
async def test_an_error_of_before_run_fails_the_turn_and_no_agent_is_made(
    error: Exception, expected: Any, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[str] = []

    def refuse(request: TurnRequest) -> None:
        raise error

    def factory() -> ScriptedAgent:
        made.append("agent")
        return ScriptedAgent(["ok"])

    told = Told()
    log = await one_turn(factory, before_run=refuse, on_outcome=told)

    shown = log.response["error"]
    assert (log.status, {name: shown[name] for name in expected}, made) == ("failed", expected, [])
    assert told.outcomes == [Failed(expected["code"], expected["message"])]
    assert SECRET not in str(log.events) + caplog.text


@pytest.mark.parametrize("change", [{"response_id": "caresp_x"}, {"input": ()}, {"store": False}])
async def test_before_run_must_not_change_what_is_settled(change: Any) -> None:
    def changed(request: TurnRequest) -> TurnRequest:
        return replace(request, **change)

    log = await one_turn(ScriptedAgent(["ok"]), before_run=changed)

    assert (log.status, log.response["error"]["code"], log.items) == ("failed", "server_error", [])


def update(*contents: Any, **fields: Any) -> AgentResponseUpdate:
    texts = [Content.from_text(row) if isinstance(row, str) else row for row in contents]
    return AgentResponseUpdate(contents=texts, role="assistant", **fields)


def loud(said: AgentResponseUpdate) -> AgentResponseUpdate:
    return update(said.text.upper())


async def loud_later(said: AgentResponseUpdate) -> AgentResponseUpdate:
    await asyncio.sleep(0)
    return loud(said)


def twice(said: AgentResponseUpdate) -> Iterable[AgentResponseUpdate]:
    yield said
    yield said


def without_sun(said: AgentResponseUpdate) -> AgentResponseUpdate | None:
    return None if said.text == "sun" else said


@pytest.mark.parametrize(
    ("hook", "text"),
    [(loud, "A SUNRISE"), (loud_later, "A SUNRISE"), (twice, "a a sunsunriserise"), (without_sun, "a rise")],
)
async def test_an_update_is_changed_multiplied_or_dropped(hook: Any, text: str) -> None:
    agent = ScriptedAgent(["a ", "sun", "rise"], [])

    async with host(agent, transform_update=hook) as client:
        log = await stream(client)
        stored = (await client.get(f"/responses/{log.response['id']}")).json()
        await stream(client, previous_response_id=log.response["id"])

    assert (log.status, log.text) == ("completed", text)
    assert stored["output"] == log.items
    assert agent.calls[1].messages[1].text == text


async def test_what_is_dropped_still_counts() -> None:
    steps = ["Sun", update("never", USAGE, finish_reason="length")]

    def drop(said: AgentResponseUpdate) -> None:
        assert said.contents

    log = await one_turn(ScriptedAgent(steps), transform_update=drop)

    assert (log.status, log.items) == ("incomplete", [])
    assert log.usage is not None and log.usage["total_tokens"] == 10


async def test_an_error_of_a_transform_fails_the_turn_and_keeps_what_came_before() -> None:
    def fail_at_rise(said: AgentResponseUpdate) -> AgentResponseUpdate:
        if said.text == "rise":
            raise ValueError(SECRET)
        return said

    log = await one_turn(ScriptedAgent(["sun", "rise"]), transform_update=fail_at_rise)

    assert (log.status, log.response["error"]["code"], log.text) == ("failed", "server_error", "sun")
    assert SECRET not in str(log.events)


@pytest.mark.parametrize("fails", [True, False])
async def test_a_run_is_closed_where_its_transform_fails_or_its_reader_leaves(fails: bool) -> None:
    closed: list[bool] = []

    async def updates() -> AsyncGenerator[AgentResponseUpdate]:
        try:
            yield AgentResponseUpdate(contents=[Content.from_text("a")])
        finally:
            closed.append(True)

    def hook(update: AgentResponseUpdate) -> AgentResponseUpdate:
        if fails:
            raise ValueError(SECRET)
        return update

    run = updates()
    changed = transformed(hook, run)
    if fails:
        with pytest.raises(ValueError):
            await anext(changed)
    else:
        await anext(changed)
        await changed.aclose()

    assert closed == [True], run


async def test_a_transform_that_waits_ends_with_a_cancelled_turn() -> None:
    waiting, ended = asyncio.Event(), asyncio.Event()

    async def wait(said: AgentResponseUpdate) -> AgentResponseUpdate:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return said

    async with host(ScriptedAgent(["sun"]), transform_update=wait) as client:
        started = (await client.post("/responses", json={"input": "hi", "background": True})).json()
        async with asyncio.timeout(PATIENCE):
            await waiting.wait()
            await client.post(f"/responses/{started['id']}/cancel")
            await ended.wait()


@pytest.mark.parametrize(
    ("steps", "outcome"),
    [
        (["ok"], Completed()),
        (["ok", AgentResponseUpdate(contents=[], finish_reason="length")], Incomplete("max_output_tokens")),
        (["ok", RuntimeError(SECRET)], Failed("server_error", "The agent failed to produce a response.")),
    ],
)
@pytest.mark.parametrize("fields", [{}, {"stream": False}, {"store": False}])
async def test_the_outcome_is_told_once_after_it_was_saved(steps: Any, outcome: Outcome, fields: Any) -> None:
    told = Told()

    async with host(ScriptedAgent(steps), on_outcome=told) as client:
        response = (await client.post("/responses", json={"input": "hi", **fields})).json()

    assert told.outcomes == [outcome]
    assert told.requests[0].response_id == response["id"]


async def test_a_cancelled_turn_is_told() -> None:
    gate, told = Gate(), Told()

    async with host(ScriptedAgent(["Sun", gate]), on_outcome=told) as client:
        response_id = await begun(client, gate)
        await client.post(f"/responses/{response_id}/cancel")
        async with asyncio.timeout(PATIENCE):
            await told.was_told.wait()

    assert told.outcomes == [Cancelled("client")]


async def test_a_turn_whose_caller_left_is_told() -> None:
    gate, told = Gate(), Told()

    async with host(ScriptedAgent(["Sun", gate]), on_outcome=told) as client:
        async with client.stream("POST", "/responses", json={"input": "hi", "stream": True}) as events:
            await anext(events)
            await gate.reached()
        async with asyncio.timeout(PATIENCE):
            await told.was_told.wait()

    assert told.outcomes == [Cancelled("client")]


async def test_a_background_response_is_in_progress_until_on_outcome_has_returned() -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def waits(request: TurnRequest, outcome: Outcome) -> None:
        begun.set()
        await may_end.wait()

    async with host(ScriptedAgent(["ok"]), on_outcome=waits) as client, asyncio.timeout(PATIENCE):
        started = (await client.post("/responses", json={"input": "hi", "background": True})).json()
        await begun.wait()
        during = (await client.get(f"/responses/{started['id']}")).json()["status"]
        may_end.set()

    assert during == "in_progress"


async def test_a_stream_ends_once_on_outcome_has_returned() -> None:
    has_returned: list[bool] = []

    async def notes(request: TurnRequest, outcome: Outcome) -> None:
        await asyncio.sleep(0)
        has_returned.append(True)

    async with host(ScriptedAgent(["ok"]), on_outcome=notes) as client:
        async with client.stream("POST", "/responses", json={"input": "hi", "stream": True}) as events:
            seen = [(event["type"], bool(has_returned)) async for event in events]

    assert seen[-2:] == [("response.output_item.done", False), ("response.completed", True)]


async def test_an_error_of_on_outcome_changes_nothing_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    log = await one_turn(ScriptedAgent(["ok"]), on_outcome=Told(error=ValueError(SECRET)))

    assert log.status == "completed"
    assert "on_outcome" in caplog.text and "ValueError" in caplog.text
    assert SECRET not in caplog.text


async def test_an_on_outcome_that_never_returns_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hostedagent.engine.hooks.OUTCOME_SECONDS", 0.01)

    async def for_ever(request: TurnRequest, outcome: Outcome) -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(PATIENCE):
        assert (await one_turn(ScriptedAgent(["ok"]), on_outcome=for_ever)).status == "completed"


async def test_an_on_outcome_that_cancels_itself_changes_nothing() -> None:
    def cancels(request: TurnRequest, outcome: Outcome) -> None:
        raise asyncio.CancelledError

    assert (await one_turn(ScriptedAgent(["ok"]), on_outcome=cancels)).status == "completed"


@pytest.mark.parametrize("where", ["before_run", "factory"])
async def test_a_cancel_ends_what_comes_before_the_run(where: str) -> None:
    waiting, ended, told = asyncio.Event(), asyncio.Event(), Told()

    async def wait(request: TurnRequest) -> Any:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    given: Any = {"before_run": wait} if where == "before_run" else {}
    agent: Any = wait if where == "factory" else ScriptedAgent(["never"])
    async with host(agent, on_outcome=told, **given) as client:
        started = (await client.post("/responses", json={"input": "hi", "background": True})).json()
        async with asyncio.timeout(PATIENCE):
            await waiting.wait()
            await client.post(f"/responses/{started['id']}/cancel")
            await ended.wait()
            await told.was_told.wait()

    assert told.outcomes == [Cancelled("client")]
