"""A process of a host with `resilient_background`: `python -m tests.crash.mortal ROOT PLAN`.

`{"turns": [...]}` begins turns in the background; each stops for ever at the place that its metadata names, and when
all have, the process says so and waits for its end. With `"ends": true` it ends by itself, in order.
`{"again": [...]}` lets the next process take those turns up, which stop at the same places again.
`{"ids": {...}}` waits until the turns of those responses have ended, tells what is left of them, and goes on talking.
It prints a line of JSON for everything that happens.
"""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from agent_framework import (
    Agent,
    Content,
    Executor,
    Message,
    SupportsAgentRun,
    WorkflowBuilder,
    WorkflowContext,
    handler,
    tool,
)

from hostedagent import AgentHost, HostOptions, TurnRequest, current_turn
from hostedagent.engine.hooks import Hooks
from hostedagent.engine.responses import ResponseStore
from hostedagent.identity import Caller, HeaderScopeResolver, Scope
from hostedagent.platform import is_hosted
from hostedagent.stores.batch import Part
from hostedagent.stores.factory import Stores, sqlite_stores
from hostedagent.stores.sessions import Sessions
from hostedagent.testing import InProcessClient, OfflineChatClient, serve
from tests.patience import PATIENCE, be_patient

ROOT, PLAN = Path(sys.argv[1]), json.loads(sys.argv[2])
stops: dict[str, asyncio.Event] = {}
known: dict[str, asyncio.Event] = {}
lost = asyncio.Event()
ended: dict[str, asyncio.Event] = {}


def tell(**line: Any) -> None:
    sys.stdout.write(f"{json.dumps(line)}\n")  # In one piece: threads print too.
    sys.stdout.flush()


async def at(place: str, metadata: Mapping[str, str] | None = None) -> None:
    metadata = metadata if metadata is not None else current_turn().metadata
    if metadata.get("name") in stops and metadata.get("stop") == place:
        stops[metadata["name"]].set()
        await asyncio.Event().wait()


def ran(what: str) -> None:
    tell(ran=what, name=current_turn().metadata["name"])


@tool
async def look_up(city: str) -> str:
    """Look up the weather."""
    ran("look_up")
    await at("in the tool")
    return f"sunny in {city}"


@tool(approval_mode="always_require")
async def book(city: str) -> str:
    """Book a trip."""
    ran("book")
    await at("in the approved tool")
    return f"booked {city}"


def answer(messages: Any, _: Any) -> Any:
    ran("model")
    last, kind = messages[-1], current_turn().metadata["kind"]
    if kind == "broken":
        raise RuntimeError
    if last.role == "tool":
        return ["it is ", lambda: at("in the answer"), "done"]
    if kind == "tool":
        return ["Let me. ", Content.from_function_call("c1", "look_up", arguments='{"city": "Oslo"}')]
    if kind == "asks":
        return [Content.from_function_call("c2", "book", arguments='{"city": "Oslo"}')]
    return ["it ", lambda: at("in the answer"), f"re {last.text}"]


class First(Executor):
    """Says something and passes it on."""

    @handler
    async def take(self, messages: list[Message], ctx: WorkflowContext[str, str]) -> None:
        ran("first")
        await ctx.yield_output("first says hello")
        await ctx.send_message("hello")


class Second(Executor):
    """Says what it heard."""

    @handler
    async def take(self, heard: str, ctx: WorkflowContext[Any, str]) -> None:
        ran("second")
        await ctx.yield_output(f"second begins with {heard}")
        await at("in the second")
        await ctx.yield_output(f"second heard {heard}")


models: dict[str, OfflineChatClient] = {}


def make(request: TurnRequest) -> SupportsAgentRun:
    if request.metadata["kind"] == "workflow":
        first = First("first")
        builder = WorkflowBuilder(name="two", start_executor=first, output_from="all").add_edge(first, Second("second"))
        return builder.build().as_agent(name="two")
    model = models[request.metadata["name"]] = OfflineChatClient(script=[answer] * 9)
    return Agent(model, tools=[look_up, book])


async def on_outcome(request: TurnRequest, outcome: Any) -> None:
    tell(outcome=type(outcome).__name__, name=request.metadata["name"])
    if request.metadata["name"] == "lost":
        lost.set()
    await at("in on_outcome", request.metadata)
    if request.response_id in ended:
        ended[request.response_id].set()


def watch_commits() -> None:
    commit = ResponseStore.commit

    async def watched(self: ResponseStore, response: Mapping[str, Any], parts: Sequence[Part] = ()) -> None:
        await at("before commit", response.get("metadata") or {})
        await commit(self, response, parts)
        await at("after commit", response.get("metadata") or {})

    ResponseStore.commit = watched


def whose(name: str) -> dict[str, str]:
    """The headers of one of two users."""
    user = "ann" if len(name) % 2 else "ben"
    if is_hosted():
        return {"x-agent-user-id": user, "x-agent-foundry-call-id": f"{user}.{name}"}
    return {"x-tenant": user}


async def take(conversation: str, stores: Stores) -> None:
    """Have a turn, which fails, in a conversation whose own turn is not taken up again yet."""
    sessions = Sessions(stores.state, stores.leases)
    lease = await sessions.acquire(Caller(Scope("x-tenant:ben")), conversation)
    await sessions.release(lease, excluded=["msg_said_by_it"])


async def begin(client: InProcessClient, turn: dict[str, Any]) -> None:
    name, headers = turn["metadata"]["name"], whose(turn["metadata"]["name"])
    before = turn.pop("before", None)
    if before is not None:
        metadata = {"name": name, **before.pop("metadata")}
        reply = await client.post(
            "/responses", json={"input": "before", "metadata": metadata, **before}, headers=headers
        )
        response = reply.json()
        tell(name=name, before=response)
        if "conversation" not in turn:
            turn["previous_response_id"] = response["id"]
        if metadata["kind"] == "asks":
            asked = {"approval_request_id": response["output"][-1]["id"], "approve": True}
            turn["input"] = [{"type": "mcp_approval_response", **asked}]
    body = {"input": name, "background": True, **turn}
    if not body.get("stream"):
        tell(name=name, id=(await client.post("/responses", json=body, headers=headers)).json()["id"])
        known[name].set()
        return
    async with client.stream("POST", "/responses", json=body, headers=headers) as events:
        async for event in events:
            if event["type"] == "response.created":
                tell(name=name, id=event["response"]["id"])
                known[name].set()
            tell(name=name, event=event)


async def die(client: InProcessClient, stack: AsyncExitStack) -> None:
    known.update({turn["metadata"]["name"]: asyncio.Event() for turn in PLAN.get("turns", ())})
    begun = [asyncio.create_task(begin(client, turn)) for turn in PLAN.get("turns", ())]
    for stop in (*stops.values(), *known.values()):
        await stop.wait()
    if "lost" in PLAN:
        await lost.wait()
    tell(stopped=True)
    if not PLAN.get("ends"):
        await asyncio.Event().wait()
    await stack.aclose()
    for task in begun:
        task.cancel()


async def finish(client: InProcessClient, name: str, response_id: str) -> None:
    headers, path = whose(name), f"/responses/{response_id}"
    first = (await client.get(path, headers=headers)).json()
    tell(name=name, first=first)
    if PLAN["streamed"][name]:
        async with client.stream("GET", f"{path}?stream=true&starting_after=0", headers=headers) as events:
            tell(name=name, log=[event async for event in events])
    elif first["status"] == "in_progress":
        await ended[response_id].wait()
    final = first
    while (final := (await client.get(path, headers=headers)).json()).get("status") == "in_progress":
        pass
    tell(name=name, final=final)
    place = PLAN["places"].get(name)
    more: dict[str, Any] = {"conversation": place} if place else {"previous_response_id": response_id}
    metadata = {"kind": "plain", "name": f"{name}-next-x"}
    body = {"input": "next", "metadata": metadata, **more}
    reply = (await client.post("/responses", json=body, headers=whose(name))).json()
    model = models.get(metadata["name"])
    tell(name=name, next=reply.get("status"), prompt=model.calls[-1].transcript if model else reply)
    deleted = await client.delete(path, headers=headers)
    events = (ROOT / "sdk" / "streams").glob("*.jsonl")
    tell(name=name, left=[row.name for row in events if response_id in row.read_text()], deleted=deleted.status)


async def main() -> None:
    be_patient()
    watch_commits()
    stores = None if is_hosted() else sqlite_stores(ROOT / "state.db")
    resolver = None if is_hosted() else HeaderScopeResolver(header="x-tenant")
    for response_id in PLAN.get("ids", {}).values():
        ended[response_id] = asyncio.Event()
    for name in (*PLAN.get("again", ()), *(turn["metadata"]["name"] for turn in PLAN.get("turns", ()))):
        stops[name] = asyncio.Event()
    if stores is not None and "lost" in PLAN:
        await take(PLAN["lost"], stores)
    host = AgentHost(
        make,
        stores=stores,
        resolve_scope=resolver,
        hooks=Hooks(on_outcome=on_outcome),
        options=HostOptions(resilient_background=True, shutdown_grace=0),
        driver=PLAN["driver"],
    )
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
        client = await stack.enter_async_context(serve(host.app))
        if stops:
            await die(client, stack)
        else:
            async with asyncio.TaskGroup() as group:
                for name, response_id in PLAN["ids"].items():
                    group.create_task(finish(client, name, response_id))


if __name__ == "__main__":
    asyncio.run(main())
