"""`history="service"` and a model service that works in the background: what breaks on the way costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from agent_framework import Agent, tool
from hosted import Hosted
from tests.stores.records import WatchedStore, value_of
from tests.virtual_time import virtual_time
from upstream import Break, Gate, Text, ToolCall, Upstream, responses_client

from hostedagent import AgentHost, HostOptions, memory_stores
from hostedagent.agents import background
from hostedagent.agents.background import BackgroundRun
from hostedagent.identity import Caller
from hostedagent.stores.base import Etag, Key, Write
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.tokens import TOKEN, ContinuationTokens
from hostedagent.testing import serve


class Kept(WatchedStore):
    """A store that shows which tokens are in it."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.tokens: dict[str, Any] = {}
        self.saved: list[Any] = []

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        for write in writes:
            if write.key.kind == TOKEN:
                value = value_of(write)
                self.tokens[write.key.name] = value["token"]
                self.saved.append((value["token"]["response_id"], len(value["calls"])))
        return await super().write(caller, writes)

    async def delete(self, caller: Caller, keys: Sequence[Key], *, expect: Etag | None = None) -> None:
        for key in keys:
            if key.kind == TOKEN:
                self.tokens.pop(key.name, None)
        await super().delete(caller, keys, expect=expect)


class Weather:
    """A tool that knows what it was called for."""

    def __init__(self) -> None:
        self.up: list[str] = []

        @tool
        def weather(city: str) -> str:
            """Tell the weather."""
            self.up.append(city)
            return "sunny"

        self.tool = weather


@asynccontextmanager
async def hosting(*tools: Any, in_background: bool = True) -> AsyncGenerator[tuple[Hosted, Kept]]:
    options: Any = {"background": True} if in_background else {}
    state = Kept()
    async with Upstream() as upstream:
        agent: Any = Agent(client=responses_client(upstream), tools=[*tools], default_options=options)
        host = AgentHost(agent, options=HostOptions(history="service"), stores=replace(memory_stores(), state=state))
        async with serve(host.app) as client, client.openai() as api:
            yield Hosted(upstream, client, api), state


async def test_a_stream_that_breaks_is_picked_up_where_it_broke() -> None:
    async with hosting() as (hosted, kept):
        hosted.script(Text("one two three", gate=Break()), Text("Bye."))
        log = await hosted.ask("Count.")
        await hosted.then("Bye.")

        assert (log.status, log.text) == ("completed", "one two three")
        assert hosted.upstream.retrieved == ["resp_1"]
        assert [body.get("previous_response_id") for body in hosted.upstream.requests] == [None, "resp_1"]
        assert kept.tokens == {}


async def test_the_token_is_kept_before_anything_leaves_and_nobody_sees_it(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    async with hosting() as (hosted, kept):
        hosted.script(Text("one two", gate=gate))
        body = {"model": "any", "input": "Count.", "stream": True}
        async with hosted.client.stream("POST", "/responses", json=body) as events:
            created = await events.until("response.created")
            await events.until("response.output_text.delta")
            assert kept.tokens == {created["response"]["id"]: {"response_id": "resp_1"}}
            gate.open()
            log = await events.log()

        stored = await hosted.client.get(f"/responses/{log.response['id']}")
        assert kept.tokens == {}
        for seen in (str(log.events), stored.text, caplog.text):
            assert "resp_1" not in seen.replace("caresp_", "")


async def test_deleting_a_response_that_was_cancelled_deletes_its_token() -> None:
    gate = Gate()
    async with hosting() as (hosted, kept):
        hosted.script(Text("one two", gate=gate))
        body = {"model": "any", "input": "Count.", "background": True}
        response_id = (await hosted.client.post("/responses", json=body)).json()["id"]
        await gate.reached()
        cancelled = await hosted.client.post(f"/responses/{response_id}/cancel", json={})
        assert cancelled.json()["status"] == "cancelled"
        assert kept.tokens == {response_id: {"response_id": "resp_1"}}

        await hosted.client.idle()
        assert (await hosted.client.delete(f"/responses/{response_id}")).status == 200
        assert kept.tokens == {}


async def test_a_tool_that_was_called_is_not_called_again_when_what_follows_it_breaks() -> None:
    looked = Weather()
    async with hosting(looked.tool) as (hosted, kept):
        hosted.script(ToolCall("weather", {"city": "Paris"}), Text("It is sunny.", gate=Break()))
        log = await hosted.ask("How is Paris?")

        assert (log.status, log.text, looked.up) == ("completed", "It is sunny.", ["Paris"])
        assert hosted.upstream.retrieved == ["resp_2"]
        assert kept.saved == [("resp_1", 0), ("resp_1", 1), ("resp_2", 0)]


async def test_a_call_that_breaks_off_is_called_once_with_all_its_arguments() -> None:
    looked = Weather()
    async with hosting(looked.tool) as (hosted, _):
        hosted.script(ToolCall("weather", {"city": "Paris"}, gate=Break()), Text("It is sunny."))
        log = await hosted.ask("How is Paris?")

        assert (log.status, log.text, looked.up) == ("completed", "It is sunny.", ["Paris"])
        calls = [item for item in log.response["output"] if item["type"] == "mcp_call"]
        assert [(call["arguments"], call["output"]) for call in calls] == [('{"city": "Paris"}', "sunny")]


async def test_a_service_that_never_gets_further_fails_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.0)

    class AlwaysBroken(Break):
        async def pass_through(self) -> None:
            self.has_broken = False
            await super().pass_through()

    async with hosting() as (hosted, _):
        hosted.script(Text("one two", gate=AlwaysBroken()))
        log = await hosted.ask("Count.")

        assert log.status == "failed"
        assert hosted.upstream.retrieved == ["resp_1"] * (background.TRIES - 1)


async def test_a_service_that_does_not_work_in_the_background_is_not_asked_again() -> None:
    async with hosting(in_background=False) as (hosted, kept):
        hosted.script(Text("one two", gate=Break()))
        log = await hosted.ask("Count.")

        assert log.status == "failed"
        assert (hosted.upstream.retrieved, kept.saved) == ([], [])


@virtual_time
async def test_work_that_the_service_no_longer_has_is_asked_for_ever_later_and_not_for_ever() -> None:
    asked: list[tuple[float, Any]] = []

    async def attempt(token: Any) -> Any:
        asked.append((asyncio.get_running_loop().time(), token))
        raise LookupError

    tokens = ContinuationTokens(MemoryStore())
    run = BackgroundRun(attempt, tokens, Caller(), "response", token={"response_id": "resp_1"})

    with pytest.raises(LookupError):
        await anext(run.start())
    assert asked == [(background.PAUSE_SECONDS * n, {"response_id": "resp_1"}) for n in (0, 0, 1, 4)]


async def test_a_turn_that_is_not_stored_leaves_no_token() -> None:
    async with hosting() as (hosted, kept):
        hosted.script(Text("one two", gate=Break()))
        log = await hosted.ask("Count.", store=False)

        assert (log.status, log.text) == ("completed", "one two")
        assert (hosted.upstream.retrieved, kept.saved) == (["resp_1"], [])
