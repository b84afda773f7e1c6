"""What a workflow costs: state store calls, the order of tokens and events, checkpoints of many at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agent_framework import Agent, Content, Executor, Message, WorkflowBuilder, WorkflowContext, handler

from hostedagent import AgentHost, TurnRequest, foundry_stores
from hostedagent.emulator import Emulator
from hostedagent.testing import Gate, OfflineChatClient, serve
from tests.host.world import assert_refusal, hosting
from tests.stores import Identified
from tests.workflows.flows import (
    Deleter,
    World,
    approval,
    questions,
    say,
    talking,
    texts,
    turn,
    watching,
)


class Split(Executor):
    @handler
    async def start(self, messages: list[Message], ctx: WorkflowContext[list[Message]]) -> None:
        await ctx.send_message(messages)


WORDS = " ".join(["word"] * 150)


@pytest.mark.parametrize("continues", ["previous_response_id", "conversation"])
async def test_a_turn_of_150_tokens_calls_the_state_store_six_times_at_most(continues: str) -> None:
    model = OfflineChatClient(script=[WORDS] * 12)
    async with watching(lambda: talking(model)) as world:
        fields = {"conversation": "conv_1"} if continues == "conversation" else {}
        for _ in range(12):  # From the ninth on, a chain also drops a checkpoint.
            world.state.calls.clear()
            response = await turn(world.client, "a", **fields)
            assert len(world.state.calls) <= 6, world.state.calls
            if continues == "previous_response_id":
                fields = {"previous_response_id": response["id"]}


async def test_a_turn_of_150_tokens_on_foundry_makes_six_state_requests_at_most() -> None:
    model = OfflineChatClient(script=[WORDS] * 3)
    async with Emulator(anonymous="refuse") as emulator:
        emulator.trust()
        stores = foundry_stores(endpoint=emulator.endpoint, credential=emulator.credential)
        host = AgentHost(lambda: talking(model), stores=stores)
        async with serve(Identified(host.app)) as client:
            await turn(client, "a", conversation="conv_1")  # Makes the store.
            for _ in range(2):
                emulator.log.clear()
                await turn(client, "a", conversation="conv_1")
                made = [route for route in emulator.log.routes if not route.startswith("responses.")]
                assert 0 < len(made) <= 6, emulator.log.routes


async def test_a_token_leaves_before_the_next_one_is_made() -> None:
    """The order of things: the model stands at the gate until the caller has what was made before it."""
    gate, later = Gate(), Gate()
    first = OfflineChatClient(script=[["first ", gate, "second"]])
    second = OfflineChatClient(script=[["third ", later, "fourth"]])
    async with (
        hosting(lambda: talking(first, second)) as client,
        client.stream("POST", "/responses", json={"input": "a", "stream": True}) as reply,
    ):
        assert (await reply.until("response.output_text.delta"))["delta"] == "first "
        gate.open()
        assert (await reply.until("response.output_text.delta"))["delta"] == "second"
        assert (await reply.until("response.output_text.delta"))["delta"] == "third "
        later.open()
        log = await reply.log()

    assert log.text == "first secondthird fourth"
    assert first.calls and second.calls


async def test_agents_that_work_at_the_same_time_are_items_of_their_own() -> None:
    gate = Gate()
    slow = OfflineChatClient(script=[["slow ", gate, "end"]])
    fast = OfflineChatClient(script=["fast"])

    def fan_out() -> WorkflowBuilder:
        split = Split(id="split")
        agents = [Agent(slow, name="slow"), Agent(fast, name="fast")]
        builder = WorkflowBuilder(start_executor=split, name="fan-out", output_from=[*agents])
        return builder.add_fan_out_edges(split, agents)

    async with (
        hosting(fan_out) as client,
        client.stream("POST", "/responses", json={"input": "a", "stream": True}) as reply,
    ):
        deltas: set[str] = set()
        while deltas != {"slow ", "fast"}:
            deltas.add((await reply.until("response.output_text.delta"))["delta"])
        gate.open()
        log = await reply.log()

    authors = {item["agent_reference"]["name"]: item["content"][0]["text"] for item in log.response["output"]}
    assert authors == {"slow": "slow end", "fast": "fast"}


async def test_twenty_conversations_of_two_users_with_approvals_do_not_mix() -> None:
    deleters: dict[str, Deleter] = {}
    models: dict[str, OfflineChatClient] = {}

    def factory(request: TurnRequest) -> WorkflowBuilder:
        """Each conversation of each user has a model of its own: what reaches it came from there."""
        place = f"{request.scope.key('place')}-{request.conversation_id}"
        if place not in models:
            said = request.metadata["place"]
            deleters[said] = Deleter()
            wanted = Content.from_function_call("c1", "delete_file", arguments=f'{{"path": "{said}"}}')
            models[place] = OfflineChatClient(script=[wanted, f"done {said}", f"again {said}"])
            tools[place] = deleters[said].tool
        return talking(models[place], tools=[tools[place]])

    tools: dict[str, Any] = {}

    async def converse(world: World, user: str, n: int) -> None:
        said = f"{user}-{n}"
        fields = {
            "conversation": f"conv_{n}",
            "metadata": {"place": said},
            "headers": {"x-test-user": user},
        }
        asked = await turn(world.client, f"delete {said}", **fields)
        (question,) = questions(asked)
        refused = await say(
            world.client,
            [approval(question)],
            previous_response_id=asked["id"],
            headers={"x-test-user": "bob" if user == "ada" else "ada"},
        )
        assert_refusal(refused, 404)
        done = await turn(world.client, [approval(question)], **fields)
        assert texts(done) == [f"done {said}"]
        assert texts(await turn(world.client, "more", **fields)) == [f"again {said}"]

    async with watching(factory) as world:
        await asyncio.gather(*(converse(world, user, n) for user in ("ada", "bob") for n in range(10)))
        for user in ("ada", "bob"):
            assert len(await world.checkpoints(user)) == 10, "one for each conversation"

    assert {said: deleter.ran for said, deleter in deleters.items()} == {
        f"{user}-{n}": [f"{user}-{n}"] for user in ("ada", "bob") for n in range(10)
    }
    assert all(said.transcript[0].startswith("user: delete") for model in models.values() for said in model.calls)
