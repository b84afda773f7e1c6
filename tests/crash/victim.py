"""A process to be killed: `python -m tests.crash.victim ROOT STOP TURNS` serves turns on the SQLite store and reports.

It prints a line for each event that its client got, and for each place that a turn came to. At the place `STOP` of the
last turn it stands still for ever, so that whoever reads the line can kill it there.
"""

import asyncio
import json
import sqlite3
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from agent_framework import Agent, Content, tool

from hostedagent import AgentHost
from hostedagent.identity import Caller
from hostedagent.stores.base import Etag, Write
from hostedagent.stores.factory import sqlite_stores
from hostedagent.stores.sqlite import SqliteStore
from hostedagent.testing import InProcessClient, OfflineChatClient, serve
from tests.stores.records import value_of

ROOT, STOP, TURNS = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
is_last = False


def tell(**line: Any) -> None:
    sys.stdout.write(f"{json.dumps(line)}\n")  # In one piece: threads print too.
    sys.stdout.flush()


async def at(place: str) -> None:
    if is_last:
        tell(at=place)
        if place == STOP:
            await asyncio.Event().wait()


@tool
async def look_up(city: str) -> str:
    """Look up the weather."""
    note("look_up")
    await at("in the tool")
    return f"sunny in {city}"


@tool(approval_mode="always_require")
async def book(city: str) -> str:
    """Book a trip."""
    note("book")
    await at("in the tool")
    return f"booked {city}"


def note(name: str) -> None:
    with (ROOT / "ran.txt").open("a") as file:
        file.write(f"{name}\n")


def answer(messages: Any, _: Any) -> Any:
    """What the model says: a call when it is asked for one, else what it was told."""
    last = messages[-1]
    if last.role == "tool":
        return [lambda: at("after the tool"), "it is done"]
    match last.text:
        case "weather":
            return Content.from_function_call("c1", "look_up", arguments='{"city": "Oslo"}')
        case "book":
            return ["Let me. ", Content.from_function_call("c2", "book", arguments='{"city": "Oslo"}')]
        case text:
            return [lambda: at("run began"), "re ", lambda: at("in the stream"), text]


class Connection(sqlite3.Connection):
    """A connection that stands still in the middle of a transaction, when everything but its end is written."""

    half_of = ""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql == "COMMIT" and self.half_of:
            tell(at=f"half of {self.half_of}")
            threading.Event().wait()
        return super().execute(sql, *values)


def name_of(writes: Sequence[Write]) -> str:
    """What is written."""
    by_kind = {write.key.kind: write for write in writes}
    if (response := by_kind.get("response")) is not None:
        return "commit" if b'"status":"completed"' in (response.value or b"") else "write"
    if (head := by_kind.get("conversation")) is not None:
        return "lease" if value_of(head)["owner"] else "release"
    return writes[-1].key.kind


def watch_stores() -> None:
    write, connect = SqliteStore.write, sqlite3.connect

    async def watched_write(self: SqliteStore, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        name = name_of(writes)
        await at(f"before {name}")
        if is_last and f"half of {name}" == STOP:
            Connection.half_of = name
        etags = await write(self, caller, writes)
        await at(f"after {name}")
        return etags

    SqliteStore.write = watched_write
    sqlite3.connect = partial(connect, factory=Connection)


async def turn(client: InProcessClient, fields: dict[str, Any], earlier: list[str]) -> str:
    if fields.pop("continues", False):
        fields["previous_response_id"] = earlier[-1]
    if "answers" in fields:
        fields["input"] = [
            {"type": "mcp_approval_response", "approval_request_id": questions[-1], "approve": fields.pop("answers")}
        ]
    response_id = ""
    async with client.stream("POST", "/responses", json={"stream": True, **fields}) as events:
        if events.status != 200:
            raise AssertionError((await events.read()).decode())
        async for event in events:
            if event["type"] == "response.created":
                response_id = event["response"]["id"]
            item: dict[str, Any] = event.get("item") or {}
            if item.get("type") == "mcp_approval_request":
                questions.append(item["id"])
            tell(event=event["type"], item=item.get("type"), id=item.get("id") or response_id)
    return response_id


questions: list[str] = []


async def main() -> None:
    global is_last
    watch_stores()
    model = OfflineChatClient(script=[answer] * 20)
    host = AgentHost(Agent(model, tools=[look_up, book]), stores=sqlite_stores(ROOT / "state.db"))
    async with serve(host.app) as client:
        earlier: list[str] = []
        for n, fields in enumerate(TURNS):
            is_last = n == len(TURNS) - 1
            tell(turn=n)
            earlier.append(await turn(client, fields, earlier))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
