"""The server of a soak: `python -m tests.soak.process DRIVER STORE [PATH | DSN SCHEMA]` prints its address.

`GET /soak` shows its state, and what its tasks do; `GET /soak/types` how many objects of each type there are.
"""

import asyncio
import gc
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any, cast

from agent_framework import Agent, Content, tool
from opentelemetry import metrics
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from hostedagent import AgentHost, HostOptions, TurnRequest
from hostedagent.cli.port import free_port
from hostedagent.host import Driver
from hostedagent.stores.factory import Stores, foundry_stores, memory_stores, postgres_stores, sqlite_stores
from hostedagent.testing import OfflineChatClient, ScriptedAgent

ADDRESS = "127.0.0.1"
MAX_TURNS = 24


@tool(approval_mode="always_require")
def book(city: str) -> str:
    """Book a trip."""
    return f"booked {city}"


@tool
def look_up(city: str) -> str:
    """Look up the weather."""
    return f"sunny in {city}"


def stores(kind: str, *where: str) -> Stores:
    """The stores of a kind."""
    match kind:
        case "sqlite":
            return sqlite_stores(where[0])
        case "postgres":
            return postgres_stores(where[0], schema=where[1])
        case "foundry":
            return foundry_stores()
        case _:
            return memory_stores()


def call(name: str) -> Content:
    return Content.from_function_call("call_1", name, arguments='{"city": "Oslo"}')


async def forever() -> None:
    await asyncio.Event().wait()


def factory(request: TurnRequest) -> Any:
    """The agent that a request asks for."""
    match request.metadata.get("does"):
        case "hangs":
            return ScriptedAgent(["Sun", forever])
        case "fails":
            return ScriptedAgent(["Sun", RuntimeError("secret-1")])
        case "looks up":
            return Agent(OfflineChatClient(script=[call("look_up"), "It is sunny."]), tools=[look_up])
        case "asks":
            return Agent(OfflineChatClient(script=[call("book"), "It is booked."]), tools=[book])
        case "answers":
            return Agent(OfflineChatClient(script=["It is booked."]), tools=[book])
        case "talks long":
            return ScriptedAgent(["word "] * 200)
        case _:
            return ScriptedAgent(["Sun", "ny", "."])


def state() -> dict[str, int]:
    """What must be after any load what it was before it."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    tasks = Counter(f"task {getattr(task.get_coro(), '__qualname__', '?')}" for task in asyncio.all_tasks())
    return {
        **tasks,
        "tasks": tasks.total(),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "resident": pages * os.sysconf("SC_PAGE_SIZE"),
    }


async def show(_: Request) -> JSONResponse:
    return JSONResponse(state())


async def show_types(_: Request) -> JSONResponse:
    gc.collect()
    return JSONResponse(Counter(f"{type(it).__module__}.{type(it).__qualname__}" for it in gc.get_objects()))


def main(driver: str, kind: str, *where: str) -> None:
    # Without a provider OpenTelemetry keeps every meter, and Agent Framework creates some for each agent.
    metrics.set_meter_provider(metrics.NoOpMeterProvider())
    options = HostOptions(max_turns=MAX_TURNS, max_waiting=100, shutdown_grace=0, keep_alive=1)
    host = AgentHost(factory, options=options, stores=stores(kind, *where), driver=cast("Driver", driver))
    host.app.router.routes.extend([Route("/soak", show), Route("/soak/types", show_types)])
    port = free_port(ADDRESS, 0)
    host.run(host=ADDRESS, port=port, on_listening=lambda: print(f"http://{ADDRESS}:{port}", flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
