"""Turns that are stopped: the run ends at once, nothing of it is heard again, and the next turn is not harmed."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from agent_framework import AgentResponse, AgentResponseUpdate, Content, ResponseStream
from starlette.types import Message

from hostedagent import AgentHost, HostOptions, memory_stores
from hostedagent.server.agentserver.app import App
from hostedagent.testing import Gate, ScriptedAgent, serve
from tests.host.world import begun, hosting, stream
from tests.patience import PATIENCE


class Stoppable(ScriptedAgent):
    """Stands at a gate until it is cancelled, and tells that it was."""

    def __init__(self, *, holds_out: bool = False) -> None:
        super().__init__()
        self.gate = Gate()
        self.cancelled = asyncio.Event()
        self.ended = asyncio.Event()
        self._holds_out = holds_out

    def run(self, *args: Any, **kwargs: Any) -> Any:
        return ResponseStream(self._updates(), finalizer=AgentResponse.from_updates)

    async def _updates(self) -> AsyncIterator[AgentResponseUpdate]:
        yield AgentResponseUpdate(contents=[Content.from_text("Sun")])
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            if self._holds_out:
                await asyncio.sleep(0)
            raise
        finally:
            self.ended.set()


async def within(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE):
        await event.wait()


async def test_what_was_said_before_a_stop_is_kept_although_nobody_had_taken_it() -> None:
    async def updates() -> AsyncIterator[AgentResponseUpdate]:
        for word in ("Sun", "ny", "."):
            yield AgentResponseUpdate(contents=[Content.from_text(word)])
        yield AgentResponseUpdate(contents=[Content.from_usage({"input_token_count": 7, "output_token_count": 3})])
        assert isinstance(host.app, App)
        host.app.tell()
        await asyncio.Event().wait()

    class Told(ScriptedAgent):
        def run(self, *args: Any, **kwargs: Any) -> Any:
            return ResponseStream(updates(), finalizer=AgentResponse.from_updates)

    host = AgentHost(Told(), options=HostOptions(shutdown_grace=0))
    async with serve(host.app) as client:
        log = await stream(client)

    assert (log.status, log.text) == ("failed", "Sunny.")
    assert log.response["usage"]["output_tokens"] == 3
    assert log.response["output"][0]["status"] == "incomplete"


async def test_a_client_that_leaves_a_stream_stops_the_run() -> None:
    agent = Stoppable()

    async with hosting(agent) as client:
        async with client.stream("POST", "/responses", json={"input": "hi", "stream": True}) as events:
            await events.until("response.output_text.delta")
            await agent.gate.reached()
        await within(agent.cancelled)
        await client.idle()

        assert not client.errors


async def test_a_client_that_leaves_an_unstored_stream_stops_the_run() -> None:
    agent = Stoppable()
    body = {"input": "hi", "stream": True, "store": False}

    async with hosting(agent) as client:
        async with client.stream("POST", "/responses", json=body) as events:
            await events.until("response.output_text.delta")
            await agent.gate.reached()
        await within(agent.cancelled)
        await client.idle()

        assert not client.errors


async def test_a_client_that_leaves_before_the_answer_stops_the_run() -> None:
    agent = Stoppable()

    async with hosting(agent) as client:
        waiting = asyncio.create_task(client.post("/responses", json={"input": "hi"}))
        await agent.gate.reached()
        waiting.cancel()
        await within(agent.cancelled)
        await client.idle()


async def test_a_client_that_leaves_before_the_answer_is_no_error_of_the_server() -> None:
    agent = Stoppable()
    body = [{"type": "http.request", "body": b'{"input": "hi"}', "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        if body:
            return body.pop()
        await agent.gate.reached()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    request = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": "POST"}
    where = {"path": "/responses", "raw_path": b"/responses", "root_path": "", "query_string": b"", "headers": headers}
    host = AgentHost(agent)
    async with serve(host.app):
        await host.app({**request, **where}, receive, send)

    assert agent.cancelled.is_set()
    assert not sent


async def test_a_client_that_leaves_before_the_run_begins_stops_the_turn() -> None:
    gate = Gate()
    made: list[ScriptedAgent] = []

    async def factory() -> ScriptedAgent:
        await gate.wait()
        made.append(ScriptedAgent(["never"]))
        return made[-1]

    body = {"input": "hi", "stream": True, "store": False}
    async with hosting(factory) as client:
        async with client.stream("POST", "/responses", json=body) as events:
            await anext(events)
            await gate.reached()
        await client.idle()

    assert not made


async def test_cancelling_a_turn_in_the_background_stops_the_run() -> None:
    agent = Stoppable()

    async with hosting(agent) as client:
        response_id = await begun(client, agent.gate)
        cancelled = await client.post(f"/responses/{response_id}/cancel")
        again = await client.post(f"/responses/{response_id}/cancel")

        assert agent.cancelled.is_set()
    assert (cancelled.status, cancelled.json()["status"]) == (200, "cancelled")
    assert (again.status, again.json()["status"]) == (200, "cancelled")


async def test_a_run_that_tidies_up_gets_the_time() -> None:
    agent = Stoppable(holds_out=True)

    async with hosting(agent) as client:
        response_id = await begun(client, agent.gate)
        await client.post(f"/responses/{response_id}/cancel")

        assert agent.ended.is_set()


async def test_a_turn_in_the_background_outlives_its_client() -> None:
    agent = Stoppable()
    body = {"input": "hi", "background": True, "stream": True}

    async with hosting(agent) as client:
        async with client.stream("POST", "/responses", json=body) as events:
            started = await anext(events)
            await agent.gate.reached()
        agent.gate.open()
        await within(agent.ended)
        reply = await client.get(f"/responses/{started['response']['id']}?stream=true")

        assert reply.log().status == "completed"
        assert not agent.cancelled.is_set()


async def test_a_finished_turn_cannot_be_cancelled() -> None:
    async with hosting(ScriptedAgent(["ok"])) as client:
        log = await stream(client, background=True)
        reply = await client.post(f"/responses/{log.response['id']}/cancel")

    assert reply.status == 400


async def test_an_application_that_cancels_a_request_of_a_mounted_host_is_not_kept_from_it() -> None:
    gate = Gate()
    app = AgentHost(ScriptedAgent(["Sun", gate]), stores=memory_stores()).app
    body = json.dumps({"input": "hi"}).encode()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not sent_body.is_set():
            sent_body.set()
            return {"type": "http.request", "body": body}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    sent_body = asyncio.Event()
    scope = {
        "type": "http", "method": "POST", "path": "/responses", "raw_path": b"/responses", "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")], "root_path": "",
        "scheme": "http", "http_version": "1.1", "server": ("localhost", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    async with serve(app):
        request = asyncio.create_task(app(scope, receive, send))
        await gate.reached()
        request.cancel()
        await asyncio.wait([request], timeout=PATIENCE)

    assert request.cancelled()
