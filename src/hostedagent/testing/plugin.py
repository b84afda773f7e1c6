"""The pytest plugin (entry point `hostedagent`): loaded in every run, so it imports nothing until a fixture is used."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hostedagent.emulator import Emulator

    from .client import InProcessClient

ServeAgent = Callable[..., "AbstractAsyncContextManager[InProcessClient]"]
StartEmulator = Callable[..., "AbstractAsyncContextManager[Emulator]"]


@pytest.fixture
def serve_agent() -> ServeAgent:
    """Serves agents in process: gives out a function to be used in `async with`, which yields a client.

    The function takes what `hostedagent.AgentHost` takes. A plain fixture that gives out asynchronous context managers
    works with every asyncio plugin of pytest.
    """

    @asynccontextmanager
    async def serve_one(agent: Any, **options: Any) -> AsyncGenerator[InProcessClient]:
        from importlib import import_module

        from .client import serve

        host = import_module("hostedagent").AgentHost(agent, **options)
        async with serve(host.app) as client:
            yield client

    return serve_one


@pytest.fixture
def foundry_emulator(monkeypatch: pytest.MonkeyPatch) -> StartEmulator:
    """Starts emulators of the Foundry storage API: gives out a function to be used in `async with`.

    The function takes what `hostedagent.emulator.Emulator` takes and yields a running one. Inside the block this
    process trusts it and has its `environment`, so that the SDK takes itself for hosted by it.
    """

    @asynccontextmanager
    async def start_one(**options: Any) -> AsyncGenerator[Emulator]:
        from hostedagent.emulator import Emulator

        async with Emulator(**options) as emulator:
            emulator.trust()
            with monkeypatch.context() as patch:
                for name, value in emulator.environment.items():
                    patch.setenv(name, value)
                yield emulator

    return start_one
