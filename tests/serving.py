"""The hosts that tests serve: one, or with `pytest --replicas N` several behind a proxy that asks each in turn."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from hostedagent import AgentHost, Stores
from hostedagent.testing import InProcessClient, serve
from hostedagent.testing.client import Lifespan
from tests.patience import PATIENCE
from tests.stores import CHOSEN, StoreKind, opening

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


@asynccontextmanager
async def served(
    agent: Any, *, kind: StoreKind | None = None, client: Mapping[str, Any] | None = None, **given: Any
) -> AsyncGenerator[InProcessClient]:
    """Serve an agent in this process, on the stores that the run was started with.

    Args:
        agent: An agent or a factory.
        kind: The kind of the stores, where the test is about one.
        client: Options of `serve`.
        given: Options of the host.
    """
    async with hosted(agent, kind=kind, **given) as app, serve(app, **(client or {})) as made:
        yield made


@asynccontextmanager
async def hosted(
    agent: Any, *, kind: StoreKind | None = None, stores: Stores | None = None, **given: Any
) -> AsyncGenerator[ASGIApp]:
    """The app of a host, or of a proxy in front of several; a test that has stores of its own gets one host."""
    if stores is not None:
        yield AgentHost(agent, stores=stores, **given).app
        return
    async with opening(kind) as (connect, identified):
        if kind is not None or CHOSEN.replicas == 1:
            yield identified(AgentHost(agent, stores=connect(), **given).app)
            return
        # The SDK's host keeps streams and background turns in its process.
        made: dict[str, Any] = {"driver": "starlette", **given}
        yield Proxy([AgentHost(agent, stores=connect(), **made).app for _ in range(CHOSEN.replicas)])


class Proxy:
    """Sends each request to the next of several apps.

    Args:
        apps: The apps.
    """

    def __init__(self, apps: Sequence[ASGIApp]) -> None:
        self._apps = apps
        self._others = [Lifespan(app, patience=PATIENCE) for app in apps[1:]]
        self._turns = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan of all."""
        if scope["type"] == "lifespan":
            async with AsyncExitStack() as stack:
                for other in self._others:
                    stack.push_async_callback(other.shutdown)
                    await other.startup()

                async def ended(message: Message) -> None:
                    # Whoever stops the proxy ends its task when told, and with it the others that are not ready.
                    if message["type"].startswith("lifespan.shutdown"):
                        await stack.aclose()
                    await send(message)

                await self._apps[0](scope, receive, ended)
            return
        number = next(self._turns) % len(self._apps)
        if number:
            scope = {**scope, "state": self._others[number - 1].state.copy()}
        await self._apps[number](scope, receive, send)
