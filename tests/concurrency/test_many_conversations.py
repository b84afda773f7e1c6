"""A thousand conversations in parallel: each model call sees the words of its own, in order, and nothing else."""

import asyncio

from hostedagent.stores.factory import memory_stores
from tests.concurrency.world import Echo, processes, say, told

CONVERSATIONS = 1_000


async def test_a_thousand_conversations_do_not_hear_each_other() -> None:
    agent = Echo()

    async with processes(agent, memory_stores()) as (client,):

        async def converse(n: int) -> None:
            user = {"x-agent-user-id": f"user{n % 7}"}
            # Neighbours share the conversation's id and are told apart by their users only.
            conversation = f"conv_{n // 7}"
            for turn in range(2):
                body = {"input": f"c{n}t{turn}", "conversation": conversation}
                reply = await client.post("/responses", json=body, headers=user)
                assert reply.status == 200, reply.text
                (item,) = reply.json()["output"]
                assert item["content"][0]["text"] == f"re c{n}t{turn}"

        await asyncio.gather(*(converse(n) for n in range(CONVERSATIONS)))

    assert agent.most > CONVERSATIONS // 20, "the conversations did not run in parallel"
    expected = [told(*(f"c{n}t{turn}" for turn in range(last + 1))) for n in range(CONVERSATIONS) for last in range(2)]
    assert sorted(agent.prompts) == sorted(expected)


async def test_chains_by_previous_response_do_not_hear_each_other() -> None:
    agent = Echo()

    async with processes(agent, memory_stores()) as (client,):

        async def converse(n: int) -> None:
            previous: str | None = None
            for turn in range(3):
                body = {"input": f"c{n}t{turn}", "previous_response_id": previous}
                previous = (await client.post("/responses", json=body)).json()["id"]

        await asyncio.gather(*(converse(n) for n in range(100)))
        # Branches of one response, all at once.
        root = (await say(client, "root", conversation=None))["id"]
        await asyncio.gather(*(say(client, f"b{n}", conversation=None, previous_response_id=root) for n in range(50)))

    expected = [told(*(f"c{n}t{turn}" for turn in range(last + 1))) for n in range(100) for last in range(3)]
    expected += [told("root"), *(told("root", f"b{n}") for n in range(50))]
    assert sorted(agent.prompts) == sorted(expected)
