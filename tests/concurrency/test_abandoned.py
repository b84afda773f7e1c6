"""Turns that the SDK leaves because the response store failed: the conversation is free, whatever failed."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from hostedagent.stores.documents import DocumentResponses, MemoryDocuments
from hostedagent.stores.factory import Stores, memory_stores
from tests.concurrency.world import Echo, WatchedState, processes, say, told


class FailingDocuments(MemoryDocuments):
    """Documents of which one call fails."""

    def __init__(self) -> None:
        super().__init__()
        self.left = -1

    def count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError("the disk is gone")

    async def read(self, keys: Sequence[str]) -> list[bytes | None]:
        self.count()
        return await super().read(keys)

    async def write(self, documents: Mapping[str, bytes]) -> None:
        self.count()
        await super().write(documents)


async def given_back(state: WatchedState) -> None:
    async with asyncio.timeout(30):
        while (await state.written.get())["owner"] is not None:
            pass


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("streams", [True, False])
async def test_a_turn_whose_store_failed_gives_the_conversation_back(streams: bool, background: bool) -> None:
    agent = Echo()
    documents, state = FailingDocuments(), WatchedState(memory_stores().state)
    stores = Stores(responses=DocumentResponses(documents), state=state)
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
