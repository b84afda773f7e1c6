"""The WebSockets of doors: messages in order, and what becomes of them when the connection or the process ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket

from hostedagent import AgentHost, Cancelled, Completed, Hooks, HostOptions, Outcome, RequestError, TurnRequest
from hostedagent.doors import Door, Entry, Invocations
from hostedagent.embed import Caller
from hostedagent.identity import IsolationKeys, scope_of
from hostedagent.server.messages import MAX_WAITING
from hostedagent.testing import Gate, ScriptedAgent, serve
from tests.host.sockets import Socket
from tests.patience import PATIENCE

ADA = {"x-agent-user-id": "ada"}
PATH = "/invocations_ws"
DRIVERS = pytest.mark.parametrize("driver", ["agentserver", "starlette"])


class Noted:
    """How turns have ended."""

    def __init__(self) -> None:
        self.outcomes: asyncio.Queue[Outcome] = asyncio.Queue()
        self.hooks = Hooks(on_outcome=self._note)

    def _note(self, request: TurnRequest, outcome: Outcome) -> None:
        self.outcomes.put_nowait(outcome)

    async def next(self) -> Outcome:
        async with asyncio.timeout(PATIENCE):
            return await self.outcomes.get()


async def connected(app: Any, path: str = PATH) -> Socket:
    socket = Socket(app, ADA, path)
    await socket.open()
    return socket


@DRIVERS
async def test_a_client_that_has_sent_much_and_leaves_ends_its_turn(driver: Any) -> None:
    noted, gate = Noted(), Gate()
    host = AgentHost(ScriptedAgent(["Hel", gate]), doors=[Invocations()], hooks=noted.hooks, driver=driver)
    async with serve(host.app):
        socket = await connected(host.app)
        for number in range(MAX_WAITING + 3):
            socket.send({"input": str(number)})
        await gate.reached()
        refused = [await socket.until("error") for _ in range(2)]
        await socket.leave()
        outcome = await noted.next()

    assert [(one["status"], one["code"]) for one in refused] == [(429, "rate_limit_exceeded")] * 2
    assert type(outcome) is Cancelled and noted.outcomes.empty()


@DRIVERS
async def test_a_turn_may_end_while_the_process_does_but_no_other_one_begins(driver: Any) -> None:
    noted, gate = Noted(), Gate()
    options = HostOptions(shutdown_grace=8)
    agent = ScriptedAgent(["Hel", gate, "lo."])
    host = AgentHost(agent, doors=[Invocations()], hooks=noted.hooks, options=options, driver=driver)
    app: Any = host.app
    async with serve(app):
        socket = await connected(app)
        socket.send({"input": "first"})
        socket.send({"input": "second"})
        await gate.reached()
        app.tell()
        leaving = asyncio.create_task(socket.leave())
        gate.open()
        await leaving
        outcome = await noted.next()

    assert type(outcome) is Completed and noted.outcomes.empty()


@DRIVERS
@pytest.mark.parametrize("message", ["", "{", "[]", "null", b"\xff\xfe", '{"input": 1e999}', "[" * 5000, {"input": []}])
async def test_a_message_that_is_no_invocation_is_refused_and_the_next_one_answered(message: Any, driver: Any) -> None:
    host = AgentHost(ScriptedAgent(["Hello."]), doors=[Invocations()], driver=driver)
    async with serve(host.app):
        socket = await connected(host.app)
        socket.send(message)
        socket.send({"input": "hi", "stream": False, "background": False})
        ends = [await socket.until("done", "error") for _ in range(2)]
        await socket.leave()

    assert [(one["type"], one["status"]) for one in ends] == [("error", 400), ("done", "completed")]


class Chat(Door):
    """A door of an application with a WebSocket: a text in, pieces of text out."""

    name = "chat"

    def __init__(self) -> None:
        super().__init__("/chat")

    def routes(self, entry: Entry) -> Sequence[BaseRoute]:
        def connect(socket: WebSocket, caller: Caller) -> Callable[[bytes], AsyncGenerator[Mapping[str, Any]]]:
            async def answer(data: bytes) -> AsyncGenerator[Mapping[str, Any]]:
                body = {"input": (await entry.message(data))["text"], "stream": True}
                async with entry.turns.begin(body, caller) as turn, aclosing(turn.events()) as events:
                    async for event in events:
                        if event["type"] == "response.output_text.delta":
                            yield {"piece": event["delta"]}

            return answer

        def refused(error: RequestError) -> Mapping[str, Any]:
            return {"refused": error.status}

        return [WebSocketRoute(self.path, entry.socket(connect, refused))]


@DRIVERS
async def test_an_application_has_a_door_with_a_socket(driver: Any) -> None:
    seen: list[TurnRequest] = []
    hooks = Hooks(on_outcome=lambda request, outcome: seen.append(request))
    host = AgentHost(ScriptedAgent(["Hello."]), doors=[Chat()], hooks=hooks, driver=driver)
    async with serve(host.app):
        socket = await connected(host.app, "/chat")
        socket.send("{")
        socket.send({"text": "hi"})
        events = [await socket.event() for _ in range(2)]
        await socket.leave()

    assert events == [{"refused": 400}, {"piece": "Hello."}]
    assert [(one.door, one.caller.scope) for one in seen] == [("chat", scope_of(IsolationKeys("ada")))]


@pytest.mark.parametrize(("doors", "is_served"), [([], False), ([Invocations()], True), ([Chat()], True)])
def test_the_server_speaks_websocket_on_the_host_of_the_sdk_if_a_door_does(doors: list[Door], is_served: bool) -> None:
    assert AgentHost(ScriptedAgent(), doors=doors, driver="agentserver").app.has_websockets is is_served
