"""A host, the one who owns everything in it, and intruders: by store, by kind of identity, by state of the response."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_framework import Agent, Content, Message, tool

from hostedagent import (
    AgentHost,
    HeaderScopeResolver,
    ScopeResolver,
    Stores,
    foundry_stores,
    memory_stores,
    postgres_stores,
    sqlite_stores,
)
from hostedagent.doors import Door
from hostedagent.emulator import Emulator, call_id_for
from hostedagent.testing import Gate, InProcessClient, OfflineChatClient, Reply, serve
from tests.postgres.server import postgres_dsn, schema

SECRET = "tulip"
OWNER = "ann"
CONVERSATION = "conv_of_ann"

OpenStores = Callable[[], Stores]


@dataclass(frozen=True, slots=True)
class Identity:
    """How requests say whose they are."""

    name: str
    headers: Callable[[str], dict[str, str]]
    resolver: ScopeResolver | None = None


def _platform(user: str) -> dict[str, str]:
    return {"x-agent-user-id": user, "x-agent-foundry-call-id": call_id_for(user)}


def _forged(user: str) -> dict[str, str]:
    """An intruder who comes as itself through the proxy, and says to be the owner in the platform's headers."""
    return {"x-ms-client-principal-id": user} | (_platform(OWNER) if user != OWNER else {})


EASY_AUTH = HeaderScopeResolver(header="x-ms-client-principal-id")

IDENTITIES = (
    Identity("protocol 2.0.0", _platform),
    Identity("protocol 2.0.0 without a call id", lambda user: {"x-agent-user-id": user}),
    Identity("protocol 1.0.0", lambda user: {"x-agent-user-isolation-key": user}),
    Identity(
        "chats of one user",
        lambda chat: {"x-agent-user-isolation-key": "all", "x-agent-chat-isolation-key": chat},
    ),
    Identity("Easy Auth", lambda user: {"x-ms-client-principal-id": user}, EASY_AUTH),
    Identity("Easy Auth, platform headers forged", _forged, EASY_AUTH),
)

STORES = ("memory", "sqlite", "postgres", "foundry")


@asynccontextmanager
async def opening(kind: str, folder: Path) -> AsyncGenerator[OpenStores]:
    """A way to open the same stores again and again, as a restarted process does."""
    if kind == "foundry":
        async with Emulator() as emulator:
            emulator.trust()
            yield lambda: foundry_stores(endpoint=emulator.endpoint, credential=emulator.credential)
    elif kind == "sqlite":
        yield lambda: sqlite_stores(folder / "state.db")
    elif kind == "postgres":
        with schema() as name:
            yield lambda: postgres_stores(postgres_dsn(), schema=name, pool_size=2)
    else:
        stores = memory_stores()
        yield lambda: stores


@dataclass(slots=True)
class Owned:
    """What the owner has, or ids of the same shape that nobody has."""

    response_id: str
    conversation_id: str
    item_ids: Sequence[str]
    approval_id: str
    call_id: str = "call_pay"


@dataclass(slots=True)
class World:
    """A served host and what happened in it."""

    open_stores: OpenStores
    identity: Identity
    doors: Sequence[Door] = ()
    gate: Gate = field(default_factory=Gate)
    payments: list[str] = field(default_factory=list[str])
    model: OfflineChatClient = field(init=False)
    client: InProcessClient = field(init=False)
    host: AgentHost = field(init=False)
    pending: list[asyncio.Task[Any]] = field(default_factory=list[asyncio.Task[Any]])
    _serving: AbstractAsyncContextManager[InProcessClient] = field(init=False)

    async def start(self) -> None:
        @tool(approval_mode="always_require")
        def pay(to: str) -> str:
            """Pay somebody."""
            self.payments.append(to)
            return "paid"

        # One rule for every call, for as long as the test goes on asking.
        self.model = OfflineChatClient(script=[self._answer] * 2_000)
        self.host = AgentHost(
            Agent(self.model, tools=[pay], name="isolated"),
            stores=self.open_stores(),
            resolve_scope=self.identity.resolver,
            doors=self.doors,
            driver="starlette" if self.doors else "agentserver",
        )
        self._serving = serve(self.host.app)
        self.client = await self._serving.__aenter__()

    async def stop(self) -> None:
        self.gate.open()
        if self.pending:
            await asyncio.wait(self.pending)
        await self._serving.__aexit__(None, None, None)

    def _answer(self, messages: Sequence[Message], options: Mapping[str, Any]) -> Any:
        last = messages[-1]
        if last.role == "tool":
            return f"Paid for the {SECRET}."
        if "wait" in last.text:
            return [f"The {SECRET} ", self.gate, "is here."]
        if "pay" in last.text:
            return Content.from_function_call("call_pay", "pay", arguments=f'{{"to":"{SECRET}"}}')
        return "I heard you."

    async def post(self, user: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Reply:
        """Create a response as a user."""
        sent = {**self.identity.headers(user), **(headers or {})}
        return await self.client.post("/responses", json=body, headers=sent)

    async def as_owner(self, method: str, url: str) -> Reply:
        return await self.client.request(method, url, headers=self.identity.headers(OWNER))

    def assert_apart(self) -> None:
        """See that no prompt of an intruder held anything of the owner's, nor the other way round."""
        for call in self.model.calls:
            words = "\n".join(call.transcript)
            assert not (SECRET in words and "intruder" in words), words
        assert not self.payments, "a tool ran"


@asynccontextmanager
async def inhabiting(
    kind: str, folder: Path, identity: Identity, *, doors: Sequence[Door] = ()
) -> AsyncGenerator[World]:
    """A world with nobody in it yet; with doors, on the package's own routes."""
    async with AsyncExitStack() as stack:
        world = World(await stack.enter_async_context(opening(kind, folder)), identity, doors)
        await world.start()
        stack.push_async_callback(world.stop)
        yield world
