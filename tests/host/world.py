"""What the host tests share: a host whose stores are watched, and what a refusal must look like."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from agent_framework import SupportsAgentRun

from hostedagent import HostOptions, Stores, memory_stores, sqlite_stores
from hostedagent.agents.source import AgentFactory
from hostedagent.host import Driver
from hostedagent.stores.foundry.responses import FoundryResponses
from hostedagent.stores.responses import StoredResponses
from hostedagent.testing import EventLog, Gate, InProcessClient, Reply
from tests.serving import served


@dataclass(slots=True)
class Writes:
    """The response ids that were written to any provider, in order."""

    created: list[str] = field(default_factory=list[str])
    updated: list[str] = field(default_factory=list[str])

    def assert_none(self) -> None:
        assert not self.created and not self.updated, "something was stored"


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Writes:
    """Watch the providers of the hosts that the test builds."""
    seen = Writes()

    for repository in (StoredResponses, FoundryResponses):
        monkeypatch.setattr(repository, "create", _watched(repository.create, seen.created))
        monkeypatch.setattr(repository, "update", _watched(repository.update, seen.updated))
    return seen


def _watched(write: Callable[..., Awaitable[None]], ids: list[str]) -> Callable[..., Awaitable[None]]:
    async def watched(self: Any, caller: Any, response: Any, *args: Any, **fields: Any) -> None:
        ids.append(response["id"])
        await write(self, caller, response, *args, **fields)

    return watched


drivers: list[Driver] = []
"""The drivers that tests asked for; the last one counts."""


@pytest.fixture(autouse=True)
def driver(request: pytest.FixtureRequest) -> Generator[Driver | None]:
    """Serve the hosts of the test by this driver; autouse, as pytest drops what a case only names as a parameter."""
    chosen: Driver | None = getattr(request, "param", None)
    if chosen is None:
        yield None
        return
    drivers.append(chosen)
    try:
        yield chosen
    finally:
        drivers.pop()


@asynccontextmanager
async def hosting(
    agent_or_factory: SupportsAgentRun | AgentFactory,
    *,
    options: HostOptions | None = None,
    stores: Stores | None = None,
    **client: Any,
) -> AsyncGenerator[InProcessClient]:
    """Serve an agent in this process, on the stores that the run was started with."""
    chosen: dict[str, Any] = {"driver": drivers[-1]} if drivers else {}
    async with served(agent_or_factory, options=options, stores=stores, client=client, **chosen) as made:
        yield made


def own_routes(agent: Any, **given: Any) -> AbstractAsyncContextManager[InProcessClient]:
    """Serve an agent on our own routes, without the SDK's host."""
    return served(agent, driver="starlette", **given)


@pytest.fixture(params=["memory", "sqlite"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Stores:
    """Stores of every kind that needs no server."""
    return sqlite_stores(tmp_path / "state.db") if request.param == "sqlite" else memory_stores()


async def begun(client: InProcessClient, gate: Gate, text: str = "hi") -> str:
    """Begin a background turn and wait until its agent is at the gate; the id of its response."""
    response = (await client.post("/responses", json={"input": text, "background": True})).json()
    await gate.reached()
    return response["id"]


async def stream(client: InProcessClient, **fields: Any) -> EventLog:
    """One streamed turn, read to its end."""
    return (await client.post("/responses", json={"input": "hi", "stream": True, **fields})).log()


def assert_refusal(reply: Reply, status: int | None = None) -> dict[str, Any]:
    """Check that a reply refuses a request in the protocol's words; returns the error."""
    assert 400 <= reply.status < 500, f"{reply.status}: {reply.body[:500]!r}"
    assert status is None or reply.status == status, f"{reply.status}: {reply.body[:500]!r}"
    assert reply.headers["content-type"].startswith("application/json")
    error = reply.json()["error"]
    assert {"message", "type", "code", "param"} <= set(error), error
    assert isinstance(error["message"], str) and error["message"]
    assert isinstance(error["type"], str) and isinstance(error["code"], str)
    return error


def time_limit(steps: Sequence[Any]) -> float | None:
    """A time limit for a run that stands still, and for no other: a busy machine must not run into it."""
    return 0.1 if isinstance(steps[0], Gate) else None
