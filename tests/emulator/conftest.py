from collections.abc import AsyncIterator

import pytest
from azure.ai.agentserver.responses import FoundryStorageProvider, FoundryStorageSettings, PlatformContext

from hostedagent.emulator import Emulator, call_id_for
from hostedagent.testing.plugin import StartEmulator


@pytest.fixture
async def emulator(foundry_emulator: StartEmulator) -> AsyncIterator[Emulator]:
    async with foundry_emulator() as emulator:
        yield emulator


@pytest.fixture
async def provider(emulator: Emulator) -> AsyncIterator[FoundryStorageProvider]:
    async with provider_of(emulator) as provider:
        yield provider


def provider_of(emulator: Emulator) -> FoundryStorageProvider:
    return FoundryStorageProvider(emulator.credential, FoundryStorageSettings.from_endpoint(emulator.endpoint))


def of(user: str) -> PlatformContext:
    """What the host passes on for one request of a user: a call id that is never the same twice."""
    return PlatformContext(user_id_key=user, call_id=call_id_for(user))
