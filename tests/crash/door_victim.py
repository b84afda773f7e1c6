"""A process whose turn comes through Invocations: `python -m tests.crash.door_victim ROOT DRIVER begin|finish`.

`begin` answers a background invocation, whose tool pays once and then stops for ever, so that it can be killed there.
`finish` is the next process: it reads the invocation again, on the own routes once its turn was resumed and has ended.
It prints a line of JSON for everything that happens.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from agent_framework import Agent, tool

from hostedagent import AgentHost, Hooks, HostOptions, TurnRequest, current_turn
from hostedagent.doors import Invocations
from hostedagent.stores.factory import sqlite_stores
from hostedagent.testing import OfflineChatClient, serve
from tests.host.approving import call
from tests.patience import PATIENCE, be_patient

ROOT, DRIVER, LIFE = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
PATH = "/invocations?agent_session_id=s1"
HEADERS = {"x-agent-user-id": "ada", "x-agent-invocation-id": "inv-1"}
ended = asyncio.Event()


def tell(**line: Any) -> None:
    """Print a line."""
    print(json.dumps(line), flush=True)


def note(what: str) -> str:
    """Write down what was done, for good."""
    with (ROOT / "done.txt").open("a") as file:
        file.write(f"{what}\n")
    return what


@tool
async def pay(to: str) -> str:
    """Pay somebody."""
    note("ran")
    await current_turn().effect("pay", lambda: note("paid"))
    if LIFE == "begin":
        tell(at="paid")
        await asyncio.Event().wait()
    return f"paid {to}"


async def on_outcome(request: TurnRequest, outcome: Any) -> None:
    """Tell how the turn ended."""
    tell(outcome=type(outcome).__name__, door=request.door, session=request.sandbox_session_id)
    ended.set()


async def main() -> None:
    """Serve one life."""
    be_patient()
    model = OfflineChatClient(script=[call("c1", "pay", to="ann"), ["Done."], ["More."]])
    host = AgentHost(
        Agent(model, tools=[pay]),
        stores=sqlite_stores(ROOT / "state.db"),
        hooks=Hooks(on_outcome=on_outcome),
        options=HostOptions(resilient_background=True),
        doors=[Invocations()],
        driver=DRIVER,  # pyright: ignore[reportArgumentType]
    )
    async with asyncio.timeout(PATIENCE), serve(host.app) as client:
        if LIFE == "begin":
            made = await client.post(PATH, json={"input": "pay ann", "background": True}, headers=HEADERS)
            tell(made=made.json())
            await asyncio.Event().wait()
        if DRIVER == "starlette":
            await ended.wait()
        answer: dict[str, Any] = {"status": "in_progress"}
        while answer.get("status") == "in_progress":
            answer = (await client.get("/invocations/inv-1", headers=HEADERS)).json()
        tell(answer=answer)
        other = await client.get("/invocations/inv-1", headers={"x-agent-user-id": "bob"})
        again = await client.post(PATH, json={"input": "pay ann"}, headers=HEADERS)
        tell(statuses=[other.status, again.status])
        body = {"input": "more", "conversation": "s1"}
        await client.post("/responses", json=body, headers={"x-agent-user-id": "ada"})
        tell(prompt=model.calls[-1].transcript)


if __name__ == "__main__":
    asyncio.run(main())
