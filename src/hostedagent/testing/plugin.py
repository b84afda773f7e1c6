"""The pytest plugin (entry point `hostedagent`): loaded in every run, so it imports nothing before a fixture is used."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .client import InProcessClient

ServeAgent = Callable[..., "AbstractAsyncContextManager[InProcessClient]"]


@pytest.fixture
def serve_agent() -> ServeAgent:
    """Serve an agent in process: `async with serve_agent(agent) as client:`.

    Takes what `hostedagent.AgentHost` takes. Works with every asyncio plugin, as it is a plain fixture that returns an
    asynchronous context manager.
    """

    @asynccontextmanager
    async def serve_one(agent: Any, **options: Any) -> AsyncGenerator[InProcessClient]:
        from importlib import import_module

        from .client import serve

        host = import_module("hostedagent").AgentHost(agent, **options)
        async with serve(host.app) as client:
            yield client

    return serve_one
