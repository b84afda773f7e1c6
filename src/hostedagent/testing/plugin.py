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
    """Serves agents in process: returns a function to be used in `async with`, which yields a client.

    The function takes the arguments of `hostedagent.AgentHost`. A plain fixture that returns async context managers
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
    """Starts emulators of the Foundry storage API: returns a function to be used in `async with`.

    The function takes the arguments of `hostedagent.emulator.Emulator` and yields a running one. Inside the block this
    process trusts it and has its `environment`, so that the SDK uses it as its platform.
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
