"""A process of a host whose model's service works in the background: `python -m tests.crash.relay ROOT URL PLAN`.

`{"turns": [...]}` begins turns in the background; each stops for ever at the place that its metadata names, or waits
for the service. `{"ids": {...}}` waits until the turns of those responses have ended, and tells what is left of them.
It prints a line of JSON for everything that happens.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from agent_framework import Agent, SupportsAgentRun, tool
from agent_framework.openai import OpenAIChatClient

from hostedagent import AgentHost, HostOptions, TurnRequest, current_turn
from hostedagent.engine.hooks import Hooks
from hostedagent.engine.responses import ResponseStore
from hostedagent.identity import Caller
from hostedagent.stores.base import Etag, Write
from hostedagent.stores.factory import sqlite_stores
from hostedagent.stores.journals import Journals
from hostedagent.stores.sqlite import SqliteStore
from hostedagent.stores.tokens import TOKEN, ContinuationTokens
from hostedagent.testing import InProcessClient, serve
from tests.patience import PATIENCE, be_patient
from tests.stores.records import value_of

ROOT, URL, PLAN = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
ended: dict[str, asyncio.Event] = {name: asyncio.Event() for name in PLAN.get("ids", ())}
callers: list[Caller] = []


def tell(**line: Any) -> None:
    print(json.dumps(line), flush=True)


async def at(place: str) -> None:
    metadata = current_turn().metadata
    tell(name=metadata["name"], at=place)
    if "turns" in PLAN and metadata.get("stop") == place:
        await asyncio.Event().wait()


@tool
async def look_up(city: str) -> str:
    """Look up the weather."""
    tell(name=current_turn().metadata["name"], ran=city)
    await at(f"in the tool of {city}")
    return f"sunny in {city}"


def make(request: TurnRequest) -> SupportsAgentRun:
    callers.append(request.caller)
    client = OpenAIChatClient(model="model-1", api_key="k", base_url=f"{URL}/v1")
    options: Any = {"background": True}
    agent: Any = Agent(client, tools=[look_up], default_options=options)
    return agent


def watch_stores() -> None:
    write, checkpoint, write_end = SqliteStore.write, ResponseStore.checkpoint, Journals.write_end
    tokens: dict[str, int] = {}

    async def watched_write(self: SqliteStore, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        (key, value) = (writes[0].key, value_of(writes[0]))
        if key.kind != TOKEN or not value or value["calls"]:
            return await write(self, caller, writes)
        tokens[key.name] = tokens.get(key.name, 0) + 1
        await at(f"before token {tokens[key.name]}")
        etags = await write(self, caller, writes)
        await at(f"after token {tokens[key.name]}")
        return etags

    async def watched_checkpoint(self: ResponseStore, *values: Any, **more: Any) -> None:
        await checkpoint(self, *values, **more)
        await at("after the results")

    async def watched_write_end(self: Journals, *values: Any, **more: Any) -> None:
        await at("before the end")
        await write_end(self, *values, **more)
        await at("after the end")

    SqliteStore.write = watched_write
    ResponseStore.checkpoint = watched_checkpoint
    Journals.write_end = watched_write_end


async def begin(client: InProcessClient, body: dict[str, Any]) -> None:
    name = body["metadata"]["name"]
    if not body["stream"]:
        tell(name=name, id=(await client.post("/responses", json=body)).json()["id"])
        return
    async with client.stream("POST", "/responses", json=body) as events:
        async for event in events:
            if event["type"] == "response.created":
                tell(name=name, id=event["response"]["id"])
            tell(name=name, event=event)


async def finish(client: InProcessClient, name: str, response_id: str) -> None:
    path = f"/responses/{response_id}"
    if PLAN["streamed"][name]:
        async with client.stream("GET", f"{path}?stream=true&starting_after=0") as events:
            tell(name=name, log=[event async for event in events])
    await ended[name].wait()
    while (final := (await client.get(path)).json())["status"] == "in_progress":
        pass
    tell(name=name, final=final)
    metadata = {"name": f"after {name}"}
    body = {"input": f"go on, {name}", "previous_response_id": response_id, "metadata": metadata}
    reply = (await client.post("/responses", json=body)).json()
    tell(name=name, next=reply)


async def main() -> None:
    be_patient()
    watch_stores()
    stores = sqlite_stores(ROOT / "state.db")

    def on_outcome(request: TurnRequest, outcome: Any) -> None:
        if (event := ended.get(request.metadata["name"])) is not None:
            event.set()

    options = HostOptions(resilient_background=True, history="service")
    host = AgentHost(make, stores=stores, hooks=Hooks(on_outcome=on_outcome), options=options)
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
        client = await stack.enter_async_context(serve(host.app))
        async with asyncio.TaskGroup() as group:
            for body in PLAN.get("turns", ()):
                group.create_task(begin(client, body))
            for name, response_id in PLAN.get("ids", {}).items():
                group.create_task(finish(client, name, response_id))
        if "turns" in PLAN:
            await asyncio.Event().wait()
        tokens = ContinuationTokens(stores.state)
        for name, response_id in PLAN["ids"].items():
            found = await tokens.load(callers[0], response_id)
            tell(name=name, left=found is not None)


if __name__ == "__main__":
    asyncio.run(main())
