"""Turns that the SDK leaves because the response store failed: the conversation is free, whatever failed."""

import asyncio
from collections.abc import Iterable, Sequence

import pytest

from hostedagent.identity import Caller
from hostedagent.stores.base import Etag, Key, Record, Write
from hostedagent.stores.factory import Stores
from hostedagent.stores.members import MEMBERS
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.responses import ITEM, RESPONSE
from tests.concurrency.world import Echo, WatchedState, processes, say, told
from tests.patience import PATIENCE


class FailingStore(MemoryStore):
    """A store of which one call for responses or items fails."""

    def __init__(self) -> None:
        super().__init__()
        self.left = -1

    def count(self, keys: Iterable[Key]) -> None:
        if not any(key.kind in (RESPONSE, ITEM, MEMBERS) for key in keys):
            return
        self.left -= 1
        if self.left == 0:
            raise OSError("the disk is gone")

    async def read(self, caller: Caller, keys: Sequence[Key]) -> list[Record | None]:
        self.count(keys)
        return await super().read(caller, keys)

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        self.count(write.key for write in writes)
        return await super().write(caller, writes)


async def given_back(state: WatchedState) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await state.written.get())["owner"] is not None:
            pass


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("streams", [True, False])
async def test_a_turn_whose_store_failed_gives_the_conversation_back(streams: bool, background: bool) -> None:
    agent = Echo()
    documents = FailingStore()
    state = WatchedState(documents)
    stores = Stores.over(state)
    body = {"input": "unlucky", "conversation": "conv_1", "stream": streams, "background": background}
    failures = 0

    async with processes(agent, stores) as (client,):
        while documents.left < 1:
            await say(client, "before", conversation=f"conv_{failures}")
            await given_back(state)
            failures += 1
            documents.left = failures
            await client.post("/responses", json={**body, "conversation": f"conv_{failures - 1}"})
            await given_back(state)
            left, documents.left = documents.left, -1
            await say(client, "next", conversation=f"conv_{failures - 1}")
            await given_back(state)
            documents.left = left
            if left < 1:
                assert agent.prompts[-1] in (told("before", "next"), told("before", "unlucky", "next"))

    assert failures > 4
