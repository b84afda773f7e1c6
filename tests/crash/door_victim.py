"""A process whose turn comes through Invocations: `python -m tests.crash.door_victim ROOT DRIVER LIFE STORE...`.

`begin` answers a background invocation, whose tool pays once and then stops for ever, so that it can be killed there.
`finish` is the next process: it reads the invocation again, once its turn was resumed and has ended if it can be.
It prints a line of JSON for everything that happens.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent_framework import Agent, tool

from hostedagent import AgentHost, Hooks, HostOptions, TurnRequest, current_turn
from hostedagent.doors import Invocations
from hostedagent.emulator import call_id_for
from hostedagent.platform import CALL_ID_HEADER
from hostedagent.testing import OfflineChatClient, serve
from tests.host.approving import call
from tests.patience import PATIENCE, be_patient
from tests.soak.process import stores

ROOT, DRIVER, LIFE = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
STORE = sys.argv[4:]
PATH = "/invocations?agent_session_id=s1"
NAMED = {"x-agent-invocation-id": "inv-1"}
LATER_SECONDS = 3_600
"""Longer than the lease of a turn."""
ended = asyncio.Event()


def tell(**line: Any) -> None:
    """Print a line."""
    sys.stdout.write(f"{json.dumps(line)}\n")  # In one piece: threads print too.
    sys.stdout.flush()


def whose(user: str) -> dict[str, str]:
    """The headers of a user; each call of the platform has an id of its own."""
    return {"x-agent-user-id": user, **({CALL_ID_HEADER: call_id_for(user)} if STORE == ["foundry"] else {})}


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
    opened = stores(*STORE)
    if STORE == ["foundry"] and LIFE == "finish":  # Where only time says that the process before it has ended.
        opened = replace(opened, leases=replace(opened.leases, clock=lambda: time.time() + LATER_SECONDS))
    host = AgentHost(
        Agent(model, tools=[pay]),
        stores=opened,
        hooks=Hooks(on_outcome=on_outcome),
        options=HostOptions(resilient_background=True),
        doors=[Invocations()],
        driver=DRIVER,  # pyright: ignore[reportArgumentType]
    )
    async with asyncio.timeout(PATIENCE), serve(host.app) as client:
        if LIFE == "begin":
            made = await client.post(PATH, json={"input": "pay ann", "background": True}, headers=whose("ada") | NAMED)
            tell(made=made.json())
            await asyncio.Event().wait()
        if STORE != ["foundry"]:
            await ended.wait()
        answer: dict[str, Any] = {"status": "in_progress"}
        while answer.get("status") == "in_progress":
            answer = (await client.get("/invocations/inv-1", headers=whose("ada"))).json()
        tell(answer=answer)
        other = await client.get("/invocations/inv-1", headers=whose("bob"))
        again = await client.post(PATH, json={"input": "pay ann"}, headers=whose("ada") | NAMED)
        tell(statuses=[other.status, again.status])
        body = {"input": "more", "conversation": "s1"}
        await client.post("/responses", json=body, headers=whose("ada"))
        tell(prompt=model.calls[-1].transcript)


if __name__ == "__main__":
    asyncio.run(main())
