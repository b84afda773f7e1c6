from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest

from hostedagent.emulator import Emulator
from hostedagent.stores.base import Store
from hostedagent.stores.foundry.store import FoundryStore
from hostedagent.testing.store_contract import PassTime, StoreContract
from tests.contract.conftest import TTL, Clock


def connect(emulator: Emulator) -> AbstractAsyncContextManager[FoundryStore]:
    return FoundryStore(
        endpoint=emulator.endpoint, credential=emulator.credential, ca_file=emulator.ca_file, retention=TTL
    )


class TestFoundryStore(StoreContract):
    concurrency = 20
    has_transactions = False
    max_bytes = 990_000
    refused_bytes = 1_000_000

    @pytest.fixture
    async def emulator(self, clock: Clock) -> AsyncIterator[Emulator]:
        async with Emulator(clock=clock) as emulator:
            yield emulator

    @pytest.fixture
    async def store(self, emulator: Emulator) -> AsyncIterator[Store]:
        async with connect(emulator) as store:
            yield store

    @pytest.fixture
    async def other(self, emulator: Emulator) -> AsyncIterator[Store]:
        async with connect(emulator) as store:
            yield store

    @pytest.fixture
    def pass_time(self, clock: Clock) -> PassTime:
        return clock.advance
