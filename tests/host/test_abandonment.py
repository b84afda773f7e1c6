"""Turns whose client has gone end, whatever pulls them."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from agent_framework import AgentResponse, AgentResponseUpdate, Content, ResponseStream
from starlette.types import Message

from hostedagent import AgentHost, HostOptions
from hostedagent.host import Driver
from hostedagent.server.agentserver import abandonment
from hostedagent.testing import ScriptedAgent, serve
from tests.patience import PATIENCE


class Loses:
    """`asyncio.wait_for` as it is on Python 3.11, where the cancellation always comes together with a result."""

    def __init__(self, wait_for: Callable[..., Awaitable[Any]]) -> None:
        self._wait_for = wait_for
        self.waits = asyncio.Event()
        self.has_lost = False

    async def __call__(self, awaitable: Awaitable[Any], timeout: float | None) -> Any:  # noqa: ASYNC109 - as asyncio's
        if self.has_lost or timeout is None or timeout < 1:
            return await self._wait_for(awaitable, timeout)
        task = asyncio.ensure_future(awaitable)
        self.waits.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.has_lost = True
        return await task


def http_request() -> dict[str, Any]:
    headers = [(b"content-type", b"application/json")]
    where = {"path": "/responses", "raw_path": b"/responses", "root_path": "", "query_string": b"", "headers": headers}
    kind = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": "POST"}
    return {**kind, **where}


def http_body(**fields: Any) -> Message:
    return {"type": "http.request", "body": json.dumps({"input": "hi", "stream": True, **fields}).encode()}


class WindingUp(ScriptedAgent):
    """Is stopped, and says so; then takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.stopped, self.goes_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def run(self, *args: Any, **kwargs: Any) -> Any:
        async def updates() -> AsyncGenerator[AgentResponseUpdate]:
            self.began.set()
            try:
                yield AgentResponseUpdate(contents=[Content.from_text("Sun")])
                await asyncio.Event().wait()
            finally:
                self.stopped.set()
                await self.goes_on.wait()

        return ResponseStream(updates(), finalizer=AgentResponse.from_updates)


@pytest.mark.parametrize("store", [False, True])
async def test_a_stream_whose_cancellation_is_lost_gives_back_its_permit_and_its_tasks(
    store: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abandonment, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(abandonment, "STORING_SECONDS", 0.01)
    losing, agent = Loses(asyncio.wait_for), WindingUp()
    monkeypatch.setattr(asyncio, "wait_for", losing)
    host = AgentHost(lambda: agent, options=HostOptions(max_turns=1))
    spoken, gone = asyncio.Event(), asyncio.Event()
    body = [http_body(store=store)]

    async def receive() -> Message:
        if body:
            return body.pop()
        if not gone.is_set():
            await losing.waits.wait()  # A poll cancels this; the one who listens learns of it at the worst moment.
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if b"output_text.delta" in message.get("body", b""):
            spoken.set()

    async with serve(host.app), asyncio.timeout(PATIENCE):
        before = asyncio.all_tasks()
        serving = asyncio.create_task(host.app(http_request(), receive, send))
        await spoken.wait()
        gone.set()
        await agent.stopped.wait()
        agent.goes_on.set()
        await asyncio.wait({serving})
        await asyncio.gather(*(asyncio.all_tasks() - before - {serving}), return_exceptions=True)
        assert losing.has_lost


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
@pytest.mark.parametrize("store", [False, True])
@pytest.mark.parametrize("streams", [False, True])
async def test_a_turn_ends_with_its_request_where_nobody_signals_that_the_client_has_gone(
    driver: Driver, store: bool, streams: bool
) -> None:
    agent, host_of = WindingUp(), partial(AgentHost, options=HostOptions(max_turns=1), driver=driver)
    host = host_of(lambda: agent if not agent.stopped.is_set() else ScriptedAgent(["fine"]))
    body, asked = [http_body(store=store, stream=streams, conversation="conv_1")], asyncio.Event()
    agent.goes_on.set()

    async def receive() -> Message:
        if body:
            return body.pop()
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        if b"output_text.delta" in message.get("body", b""):
            raise OSError("the connection is gone")

    async with serve(host.app) as client, asyncio.timeout(PATIENCE):
        serving = asyncio.create_task(host.app(http_request(), receive, send))
        if streams:
            await asyncio.wait({serving})
        else:
            await asyncio.gather(agent.began.wait(), asked.wait())
            serving.cancel()
        await agent.stopped.wait()
        while (reply := await client.post("/responses", json={"input": "b", "conversation": "conv_1"})).status != 200:
            assert reply.status in (409, 429), reply.body
        assert reply.json()["output"][0]["content"][0]["text"] == "fine"
        await asyncio.wait({serving})


async def test_a_puller_that_stands_between_two_events_is_cancelled_until_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(abandonment, "PATIENCE_SECONDS", 0.001)
    watched, lost = abandonment.Abandonment(), 0

    async def events() -> AsyncGenerator[int]:
        yield 1
        yield 2

    async def pull() -> None:
        nonlocal lost
        async for _ in watched.watch(events()):
            while lost < 3:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    lost += 1
            await asyncio.Event().wait()

    puller = asyncio.create_task(pull())
    await asyncio.sleep(0)
    watched.leave()
    watched.leave()
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait({puller})

    assert puller.cancelled()
    assert lost == 3


async def test_a_run_that_winds_up_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abandonment, "PATIENCE_SECONDS", 0.001)
    watched, told = abandonment.Abandonment(), asyncio.Event()

    async def events() -> AsyncGenerator[int]:
        yield 1
        await told.wait()
        yield 2

    async def pull() -> list[int]:
        return [event async for event in watched.watch(events())]

    puller = asyncio.create_task(pull())
    await asyncio.sleep(0)
    watched.leave()
    asyncio.get_running_loop().call_later(0.02, told.set)

    assert await puller == [1, 2]
