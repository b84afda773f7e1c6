"""The workflows of these tests: one that asks, one that talks, and what is shared by both."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from agent_framework import (
    Agent,
    Executor,
    Message,
    Workflow,
    WorkflowBuilder,
    WorkflowContext,
    handler,
    response_handler,
    tool,
)
from pydantic import BaseModel

from hostedagent import AgentHost, HostOptions, IsolationKeys, Scope
from hostedagent.identity import Caller
from hostedagent.stores.base import Etag, Key, Record, Store, Write
from hostedagent.stores.checkpoints import PART
from hostedagent.stores.factory import memory_stores
from hostedagent.stores.sessions import TURN, Snapshot
from hostedagent.testing import InProcessClient, OfflineChatClient, Reply, serve
from tests.stores.records import WatchedStore, get


@dataclass
class Point:
    x: int
    y: int = 0


class City(BaseModel):
    name: str
    people: int


@dataclass
class AskNumber:
    question: str


@dataclass
class AskFlag:
    question: str


@dataclass
class AskText:
    question: str


@dataclass
class AskPoint:
    question: str


class AskCity(BaseModel):
    question: str
    near: Point


@dataclass
class AskTags:
    question: str


REQUESTS = {
    "number": AskNumber("How many?"),
    "flag": AskFlag("Sure?"),
    "text": AskText("Which words?"),
    "point": AskPoint("Where?"),
    "city": AskCity(question="Which city?", near=Point(1, 2)),
    "tags": AskTags("Which tags?"),
}

Out = WorkflowContext[Any, str]


class Asker(Executor):
    """Asks what the user names, `number flag`, and says what it was answered."""

    @handler
    async def start(self, messages: list[Message], ctx: Out) -> None:
        for word in messages[-1].text.split():
            if word == "boom":
                raise RuntimeError("boom")
            await ctx.request_info(REQUESTS[word], ANSWERS[word])

    @response_handler
    async def number(self, asked: AskNumber, answer: int, ctx: Out) -> None:
        if answer < 0:
            raise RuntimeError("boom")
        await ctx.yield_output(f"number={answer!r}")

    @response_handler
    async def flag(self, asked: AskFlag, answer: bool, ctx: Out) -> None:
        await ctx.yield_output(f"flag={answer!r}")

    @response_handler
    async def text(self, asked: AskText, answer: str, ctx: Out) -> None:
        await ctx.yield_output(f"text={answer!r}")

    @response_handler
    async def point(self, asked: AskPoint, answer: Point, ctx: Out) -> None:
        await ctx.yield_output(f"point={answer!r}")

    @response_handler
    async def city(self, asked: AskCity, answer: City, ctx: Out) -> None:
        await ctx.yield_output(f"city={answer!r}")

    @response_handler
    async def tags(self, asked: AskTags, answer: list[str], ctx: Out) -> None:
        await ctx.yield_output(f"tags={answer!r}")


ANSWERS: dict[str, Any] = {
    "number": int,
    "flag": bool,
    "text": str,
    "point": Point,
    "city": City,
    "tags": list[str],
}


def asking() -> Workflow:
    return WorkflowBuilder(start_executor=Asker(id="asker"), name="asking").build()


def talking(*clients: OfflineChatClient, tools: Sequence[Any] = ()) -> WorkflowBuilder:
    """Agents in a row: `first`, `second`, ..."""
    agents = [
        Agent(client, name=name, tools=list(tools))
        for client, name in zip(clients, ("first", "second", "third"), strict=False)
    ]
    builder = WorkflowBuilder(start_executor=agents[0], name="talking", output_from="all")
    return builder.add_chain(agents) if len(agents) > 1 else builder


class Deleter:
    """A tool that asks before it runs, and knows how often it ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []

        @tool(approval_mode="always_require")
        def delete_file(path: str) -> str:
            """Delete a file."""
            self.ran.append(path)
            return f"deleted {path}"

        self.tool = delete_file


async def say(client: InProcessClient, text: str | list[dict[str, Any]], **fields: Any) -> Reply:
    """Send one turn. Headers go as `headers=`."""
    headers = fields.pop("headers", {})
    return await client.post("/responses", json={"input": text, **fields}, headers=headers)


async def turn(client: InProcessClient, text: str | list[dict[str, Any]], **fields: Any) -> Any:
    """Send one turn that must complete; its response."""
    reply = await say(client, text, **fields)
    response = reply.json()
    assert reply.status == 200 and response["status"] == "completed", response
    return response


def output(call_id: str, text: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def approval(item: Mapping[str, Any], *, approve: bool = True) -> dict[str, Any]:
    return {"type": "mcp_approval_response", "approval_request_id": item["id"], "approve": approve}


def texts(response: Mapping[str, Any]) -> list[str]:
    return [item["content"][0]["text"] for item in response["output"] if item["type"] == "message"]


def calls(response: Mapping[str, Any]) -> dict[str, str]:
    """Name to call id."""
    return {item["name"]: item["call_id"] for item in response["output"] if item["type"] == "function_call"}


def questions(response: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [item for item in response["output"] if item["type"] == "mcp_approval_request"]


class CountingState(WatchedStore):
    """A store that counts its calls."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.calls: list[tuple[Literal["get", "put", "delete"], str]] = []

    async def read(self, caller: Caller, keys: Sequence[Key]) -> list[Record | None]:
        self.calls.extend(("get", key.kind) for key in keys)
        return await super().read(caller, keys)

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        self.calls.extend(("put", write.key.kind) for write in writes)
        return await super().write(caller, writes)

    async def delete(self, caller: Caller, keys: Sequence[Key], *, expect: Etag | None = None) -> None:
        self.calls.extend(("delete", key.kind) for key in keys)
        await super().delete(caller, keys, expect=expect)


def by_user(headers: Mapping[str, str]) -> tuple[IsolationKeys, Scope]:
    user = headers.get("x-test-user", "ada")
    return IsolationKeys(user), Scope(f"user:{user}")


def scope_of(user: str = "ada") -> Scope:
    return Scope(f"user:{user}")


@dataclass
class World:
    """A host on stores in memory whose state can be looked at."""

    client: InProcessClient
    state: CountingState

    async def checkpoints(self, user: str = "ada") -> list[str]:
        """The responses that have a checkpoint of their own."""
        kept: list[str] = []
        for key in self.state.keys(scope_of(user), TURN):
            stored = await get(self.state.inner, scope_of(user), TURN, key)
            assert stored is not None
            workflow = stored.load(Snapshot).workflow
            if workflow is not None and not workflow.checkpoint.is_elsewhere:
                kept.append(key)
        return kept

    async def parts(self, user: str = "ada") -> list[str]:
        return self.state.keys(scope_of(user), PART)


@asynccontextmanager
async def watching(factory: Any, **options: Any) -> AsyncGenerator[World]:
    """Serve workflows; the header `x-test-user` says for whom."""
    stores = memory_stores()
    state = CountingState(stores.state)
    stores = replace(stores, state=state)
    host = AgentHost(factory, stores=stores, resolve_scope=by_user, options=HostOptions(**options))
    async with serve(host.app) as client:
        yield World(client, state)
