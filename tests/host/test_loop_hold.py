"""Work that grows with a body does not hold the event loop: measured against the time that parsing the body takes.

Counted is the processor time of the loop's own thread between two turns of the loop, so a busy machine changes nothing.
"""

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
from agent_framework import Agent, AgentResponse, AgentResponseUpdate, Content, ResponseStream

from hostedagent import AgentHost, CallerPolicy, HostOptions, TurnRequest, memory_stores
from hostedagent.doors import Invocations
from hostedagent.off_loop import FEW, off_loop
from hostedagent.protocol.request.body import parse_body
from hostedagent.testing import OfflineChatClient, ScriptedAgent, serve
from tests.host.sockets import Socket
from tests.host.world import drivers, hosting

MANY = 4_000
USER = {"type": "message", "role": "user", "content": "hi"}


class Brief(ScriptedAgent):
    """Says one word and looks at nothing: what agents do with many messages is theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[int] = []

    def run(self, messages: Any = None, **kwargs: Any) -> Any:
        self.received.append(len(messages))
        return ResponseStream(self._updates(), finalizer=AgentResponse.from_updates)

    async def _updates(self) -> AsyncIterator[AgentResponseUpdate]:
        yield AgentResponseUpdate(contents=[Content.from_text("ok")])


def messages(n: int) -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"message {k}"} for k in range(n)]


def calls(n: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for k in range(n // 2):
        rows.append({"type": "function_call", "call_id": f"c{k}", "name": "f", "arguments": "{}"})
        rows.append({"type": "function_call_output", "call_id": f"c{k}", "output": "1"})
    return [*rows, USER]


class Holds:
    """The longest time that the loop's thread worked between two turns of the loop."""

    def __init__(self) -> None:
        self.longest, self.turns = 0.0, 0

    async def watch(self) -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest, self.turns, last = max(self.longest, now - last), self.turns + 1, now


@contextmanager
def unhindered() -> Generator[None]:
    """Without the collector, whose work depends on the objects of other tests."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def parsing(data: bytes) -> float:
    """Seconds of processor time that parsing takes."""
    began = time.thread_time()
    TurnRequest.parse(parse_body(data, HostOptions()).fields, CallerPolicy())
    return time.thread_time() - began


@pytest.mark.parametrize("driver", ["agentserver", "starlette"], indirect=True)
@pytest.mark.parametrize("items", [messages, calls])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_of_many_items_never_holds_the_loop_for_half_the_time_of_parsing_it(
    stream: bool, items: Callable[[int], list[dict[str, Any]]], driver: str
) -> None:
    data = json.dumps({"input": items(MANY), "stream": stream}).encode()
    agent = Brief()
    # In memory: how long a store takes to write so many items is not what is measured.
    host = AgentHost(agent, stores=memory_stores(), driver=drivers[-1])
    async with serve(host.app, patience=120) as client:
        with unhindered():
            usual, holds = parsing(data), Holds()
            watching = asyncio.create_task(holds.watch())
            reply = await client.post("/responses", content=data)
            watching.cancel()
        response = (reply.log().events[-1]["response"]) if stream else reply.json()
        assert response["status"] == "completed"
        assert holds.longest < usual / 2, f"{holds.longest:.3f} s, and parsing takes {usual:.3f} s"

        with unhindered():
            holds = Holds()
            watching = asyncio.create_task(holds.watch())
            following = {"input": "more", "previous_response_id": response["id"]}
            assert (await client.post("/responses", json=following)).json()["status"] == "completed"
            watching.cancel()
        assert holds.longest < usual / 2, f"{holds.longest:.3f} s with the history, and parsing takes {usual:.3f} s"
    assert agent.received[1] == agent.received[0] + 2


@pytest.mark.parametrize(
    "agent", [Brief, lambda: Agent(OfflineChatClient(script=["Summary."]))], ids=["plain", "model"]
)
@pytest.mark.parametrize("items", [messages, calls])
@pytest.mark.parametrize("path", ["/responses/input_tokens", "/responses/compact", "/conversations"])
async def test_work_on_many_items_without_a_turn_never_holds_the_loop_for_as_long_as_parsing_them(
    path: str, items: Callable[[int], list[dict[str, Any]]], agent: Callable[[], Any]
) -> None:
    given = items(MANY)
    data = json.dumps({"input": given, "items": given}).encode()
    host = AgentHost(agent(), stores=memory_stores(), driver="starlette")
    async with serve(host.app, patience=120) as client:
        await client.post("/responses/compact", json={"input": "hi"})  # Which imports what it needs.
        with unhindered():
            usual, holds = parsing(data), Holds()
            watching = asyncio.create_task(holds.watch())
            reply = await client.post(path, content=data)
            watching.cancel()
    assert reply.status == 200, reply.body
    # With everything on the loop it is five times as long and more.
    assert holds.longest < usual, f"{holds.longest:.3f} s, and parsing takes {usual:.3f} s"


async def test_a_large_message_of_a_door_never_holds_the_loop_for_half_the_time_of_parsing_it() -> None:
    data = json.dumps({"input": "hi", "unknown": [{}] * 200_000})
    host = AgentHost(Brief(), stores=memory_stores(), driver="starlette", doors=[Invocations()])
    async with serve(host.app, patience=120):
        socket = Socket(host.app, {}, "/invocations_ws")
        await socket.open()
        with unhindered():
            usual, holds = parsing(data.encode()), Holds()
            watching = asyncio.create_task(holds.watch())
            socket.send(data)
            ended = await socket.until("done", "error")
            watching.cancel()
        await socket.leave()
    assert ended["status"] == 400, "a field that there is not"
    assert holds.longest < usual / 2, f"{holds.longest:.3f} s, and parsing takes {usual:.3f} s"


@pytest.mark.parametrize("driver", ["agentserver", "starlette"], indirect=True)
async def test_a_large_input_is_stored_whole_and_in_order(driver: str) -> None:
    body = {"input": [{"role": "user", "content": f"{n}"} for n in range(2 * FEW)]}
    async with hosting(Brief()) as client:
        response_id = (await client.post("/responses", json=body)).json()["id"]
        page = (await client.get(f"/responses/{response_id}/input_items?limit=100&order=asc")).json()

    assert [item["content"] if isinstance(item["content"], str) else item["content"][0]["text"]
            for item in page["data"]] == [f"{n}" for n in range(100)]  # fmt: skip
    assert len({item["id"] for item in page["data"]}) == 100


@pytest.mark.parametrize(("items", "is_elsewhere"), [(FEW, False), (FEW + 1, True)])
async def test_little_work_is_done_at_once(items: int, is_elsewhere: bool) -> None:
    def thread() -> int:
        import threading

        return threading.get_ident()

    assert (await off_loop(items, thread) != thread()) is is_elsewhere
