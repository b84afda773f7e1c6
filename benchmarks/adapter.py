"""What the adapter itself costs for each streamed event, beside the agent and the SDK.

Run: `uv run python benchmarks/adapter.py [deltas ...]`

Three measurements of the same answer, CPU time of the process, median of the runs: the agent alone; the agent under the
turn driver (request conversion, pump, projection, events), without the SDK's server; the whole ASGI application. Each
stage's own share is the difference to the one before. `stored` answers also pass the SDK's event buffer.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

from agent_framework import AgentResponseUpdate, AgentSession, Content

from hostedagent import AgentHost
from hostedagent.continuation import Continuation
from hostedagent.history.replay import ReplayHistory
from hostedagent.identity import Scope
from hostedagent.policy import CallerPolicy
from hostedagent.request.turn import TurnRequest
from hostedagent.source import AgentSource
from hostedagent.stores.approvals import Approvals
from hostedagent.stores.memory import MemoryStateStore
from hostedagent.stores.responses import ResponseStore
from hostedagent.stores.sessions import Sessions
from hostedagent.testing import serve
from hostedagent.turn import Stage, Turn

RUNS = 7
BODY = {"input": "Say something long.", "stream": True}


class Speaker:
    """An agent that says `deltas` words and never waits."""

    id = "speaker"
    name = "speaker"
    description = None

    def __init__(self, deltas: int) -> None:
        self.deltas = deltas

    async def run(self, messages: Any = None, *, stream: bool = False, **_: Any) -> AsyncIterator[AgentResponseUpdate]:
        async def updates() -> AsyncIterator[AgentResponseUpdate]:
            for _ in range(self.deltas):
                yield AgentResponseUpdate(contents=[Content.from_text("word ")], role="assistant")

        return updates()

    def create_session(self, *, session_id: str | None = None) -> AgentSession:
        return AgentSession(session_id=session_id)

    def get_session(self, service_session_id: Any, *, session_id: str | None = None) -> AgentSession:
        return AgentSession(session_id=session_id, service_session_id=service_session_id)


async def agent_alone(agent: Speaker) -> None:
    async for _ in await agent.run("x", stream=True):
        pass


async def driver(agent: Speaker) -> None:
    request = TurnRequest.parse(BODY, CallerPolicy())
    context = SimpleNamespace(
        response_id="caresp_" + "0" * 50,
        conversation_id=None,
        client_headers={},
        client_cancelled=False,
        platform_context=None,
        request=BODY,
        shutdown=asyncio.Event(),
    )
    state = MemoryStateStore()
    stage = Stage(
        source=AgentSource(cast("Any", agent)),
        history=(history := ReplayHistory(CallerPolicy())),
        workflows=history,
        store=ResponseStore(cast("Any", _no_provider)),
        sessions=Sessions(state),
        approvals=Approvals(state),
    )
    turn = Turn(stage, request.bound(cast("Any", context)), Continuation(), cast("Any", context), asyncio.Event())
    async for _ in turn.drive():
        pass


def _no_provider(scope: Scope) -> None:
    raise AssertionError("the driver alone stores nothing")


def whole(*, store: bool) -> Callable[[Speaker], Awaitable[None]]:
    async def serve_once(agent: Speaker) -> None:
        async with serve(AgentHost(cast("Any", agent)).app) as client:
            async with client.stream("POST", "/responses", json={**BODY, "store": store}) as events:
                async for _ in events:
                    pass

    return serve_once


def microseconds(measured: Callable[[Speaker], Awaitable[None]], deltas: int) -> float:
    """CPU microseconds for each delta, median."""

    def once(count: int) -> float:
        start = time.process_time()
        asyncio.run(cast("Any", measured(Speaker(count))))
        return time.process_time() - start

    once(10)
    fixed = statistics.median(once(1) for _ in range(RUNS))
    return statistics.median((once(deltas) - fixed) / deltas * 1e6 for _ in range(RUNS))


def main() -> None:
    counts = [int(value) for value in sys.argv[1:]] or [2_000, 20_000]
    print("µs CPU per event")
    print(f"{'deltas':>8} {'agent':>8} {'adapter':>8} {'SDK and test client, not stored / stored':>42}")
    for count in counts:
        agent = microseconds(agent_alone, count)
        driven = microseconds(driver, count)
        unstored, stored = (microseconds(whole(store=store), count) for store in (False, True))
        print(f"{count:>8} {agent:>8.1f} {driven - agent:>8.1f} {unstored - driven:>30.1f} / {stored - driven:.1f}")


if __name__ == "__main__":
    main()
