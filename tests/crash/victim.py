"""A process to be killed: `python -m tests.crash.victim ROOT STOP TURNS` serves turns on the file store, and tells.

It prints a line for each event that its client got, and for each place that a turn came to. At the place `STOP` of the
last turn it stands still for ever, so that whoever reads the line can kill it there.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent_framework import Agent, Content, tool

from hostedagent import AgentHost
from hostedagent.identity import Scope
from hostedagent.stores.atomic import write_atomically
from hostedagent.stores.base import Etag, Value
from hostedagent.stores.factory import file_stores
from hostedagent.stores.file import FileStateStore
from hostedagent.stores.file_documents import FileDocuments
from hostedagent.testing import InProcessClient, OfflineChatClient, serve

ROOT, STOP, TURNS = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
is_last = False


def tell(**line: Any) -> None:
    print(json.dumps(line), flush=True)


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


def path_of(key: str, suffix: str) -> Path:
    return ROOT / "responses" / key[:2] / f"{key}.{suffix}"


def watch_stores() -> None:
    put, write = FileStateStore.put, FileDocuments.write

    async def watched_put(
        self: FileStateStore, scope: Scope, kind: str, key: str, value: Value, *, expect: Etag | None = None
    ) -> Etag:
        name = kind if kind != "conversation" else "lease" if value["owner"] else "release"
        await at(f"before {name}")
        etag = await put(self, scope, kind, key, value, expect=expect)
        await at(f"after {name}")
        return etag

    async def watched_write(self: FileDocuments, documents: Mapping[str, bytes]) -> None:
        *_, (key, last) = documents.items()
        is_commit = b'"status":"completed"' in last and b'"output_ids"' in last
        name = "commit" if is_commit else "write"
        await at(f"before {name}")
        if is_last and f"half of {name}" == STOP:
            for item_key, document in list(documents.items())[:-1]:
                write_atomically(path_of(item_key, "json"), document)
            write_atomically(path_of(key, "torn"), b"")
            path_of(key, "tmp").write_bytes(last[: len(last) // 2])
            await at(f"half of {name}")
        await write(self, documents)
        await at(f"after {name}")

    FileStateStore.put = watched_put
    FileDocuments.write = watched_write


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
    host = AgentHost(Agent(model, tools=[look_up, book]), stores=file_stores(ROOT))
    async with serve(host.app) as client:
        earlier: list[str] = []
        for n, fields in enumerate(TURNS):
            is_last = n == len(TURNS) - 1
            tell(turn=n)
            earlier.append(await turn(client, fields, earlier))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
