"""What the tests of turns at the same time share: an agent that counts, a clock, and hosts that share their stores."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from agent_framework import AgentResponse, AgentResponseUpdate, AgentSession, Content, Message, ResponseStream

from hostedagent import AgentHost
from hostedagent.identity import Caller
from hostedagent.stores.base import Etag, Store, Value, Write
from hostedagent.stores.factory import Stores
from hostedagent.stores.lease_settings import LeaseSettings
from hostedagent.testing import Gate, InProcessClient, serve
from tests.patience import PATIENCE
from tests.stores.records import WatchedStore, value_of


class Echo:
    """Says what it was told last, in two steps, and knows how many of it ran at once. Gates stop words it is told."""

    id = "echo"
    name = "echo"
    description = None

    def __init__(self, **gates: Gate) -> None:
        self.gates = gates
        self.prompts: list[list[str]] = []
        self.running = 0
        self.most = 0
        self.stopped: list[str] = []

    def run(self, messages: Any = None, *, stream: bool = False, **_: Any) -> Any:
        return ResponseStream(self._updates(list(messages)), finalizer=AgentResponse.from_updates)

    def create_session(self, *, session_id: str | None = None) -> AgentSession:
        return AgentSession(session_id=session_id)

    def get_session(self, service_session_id: Any, *, session_id: str | None = None) -> AgentSession:
        return AgentSession(session_id=session_id, service_session_id=service_session_id)

    async def _updates(self, messages: list[Message]) -> AsyncIterator[AgentResponseUpdate]:
        word = messages[-1].text
        self.prompts.append([f"{message.role}: {message.text}" for message in messages])
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            yield update(f"re {word[: len(word) // 2]}")
            await asyncio.sleep(0)
            if word in self.gates:
                await self.gates[word].wait()
            yield update(word[len(word) // 2 :])
        except asyncio.CancelledError:
            self.stopped.append(word)
            raise
        finally:
            self.running -= 1


def update(text: str) -> AgentResponseUpdate:
    return AgentResponseUpdate(contents=[Content.from_text(text)], role="assistant")


def told(*words: str) -> list[str]:
    """The prompt of the last word, when the words before it were turns."""
    *turns, last = words
    return [line for word in turns for line in (f"user: {word}", f"assistant: re {word}")] + [f"user: {last}"]


@dataclass(slots=True)
class Clock:
    """A clock of the test's, and the waiting for renewals that goes by it."""

    now: float = 1_000_000.0
    ticks: asyncio.Queue[asyncio.Future[None]] = field(default_factory=asyncio.Queue[asyncio.Future[None]])

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ticks.put_nowait(wake)
        await wake

    async def wake(self) -> None:
        """Let the oldest sleeper that still waits go on."""
        async with asyncio.timeout(PATIENCE):
            while (sleeper := await self.ticks.get()).done():
                pass
        sleeper.set_result(None)

    @property
    def leases(self) -> LeaseSettings:
        return LeaseSettings(clock=self, sleep=self.sleep)


class WatchedState(WatchedStore):
    """A store that reports each write to a conversation's record, and can refuse the next ones."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.refusals: list[Exception] = []
        self.written: asyncio.Queue[Value] = asyncio.Queue()

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        values = [value_of(write) for write in writes if write.key.kind == "conversation"]
        if values and self.refusals:
            raise self.refusals.pop(0)
        etags = await super().write(caller, writes)
        for value in values:
            self.written.put_nowait(value)
        return etags


async def _nothing() -> None: ...


@asynccontextmanager
async def processes(agent: Any, stores: Stores, count: int = 1) -> AsyncGenerator[list[InProcessClient]]:
    """Hosts that know nothing of each other and share their stores."""
    async with AsyncExitStack() as stack:
        stack.push_async_callback(stores.aclose)
        shared = replace(stores, aclose=_nothing)
        yield [await stack.enter_async_context(serve(AgentHost(agent, stores=shared).app)) for _ in range(count)]


async def say(client: InProcessClient, text: str, **fields: Any) -> dict[str, Any]:
    reply = await client.post("/responses", json={"input": text, "conversation": "conv_1", **fields})
    assert reply.status == 200, reply.text
    return reply.json()
