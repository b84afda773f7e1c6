"""An approval opens one question of one conversation: nobody else's, and no other one's of the same user."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.host.world import assert_refusal
from tests.isolation.states import STATES, settle
from tests.isolation.world import IDENTITIES, OWNER, SECRET, STORES, Owned, World, inhabiting

ASKING = next(state for state in STATES if state.asks)

MODES: dict[str, dict[str, Any]] = {"plain": {}, "streamed": {"stream": True}, "background": {"background": True}}


def answer(owned: Owned) -> dict[str, Any]:
    return {"type": "mcp_approval_response", "approval_request_id": owned.approval_id, "approve": True}


async def other_chain(world: World, user: str) -> dict[str, Any]:
    made = await world.post(user, {"input": "intruder"})
    return {"previous_response_id": made.json()["id"]}


async def other_conversation(world: World, user: str) -> dict[str, Any]:
    await world.post(user, {"input": "intruder", "conversation": "conv_other"})
    return {"conversation": "conv_other"}


async def new_conversation(world: World, user: str) -> dict[str, Any]:
    return {"conversation": "conv_new"}


async def own_question(world: World, user: str) -> dict[str, Any]:
    """A chain that has a question of its own open."""
    made = await world.post(user, {"input": "Please pay the intruder."})
    return {"previous_response_id": made.json()["id"]}


async def nothing(world: World, user: str) -> dict[str, Any]:
    return {}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize(
    "elsewhere", [other_chain, other_conversation, new_conversation, own_question, nothing], ids=lambda it: it.__name__
)
@pytest.mark.parametrize("user", [OWNER, "bob"])
@pytest.mark.parametrize("stores", STORES)
async def test_an_approval_counts_only_where_it_was_asked_for(
    stores: str, user: str, elsewhere: Callable[..., Any], mode: dict[str, Any], tmp_path: Path
) -> None:
    async with inhabiting(stores, tmp_path, IDENTITIES[0]) as world:
        owned = await settle(world, ASKING, in_conversation=True)
        joined = await elsewhere(world, user)
        calls = len(world.model.calls)

        refused = await world.post(user, {"input": [answer(owned)], **joined, **mode})

        assert_refusal(refused, 404)
        assert len(world.model.calls) == calls
        assert not world.payments
        # It was not used up.
        taken = await world.post(OWNER, {"input": [answer(owned)], "conversation": owned.conversation_id})
        assert taken.status == 200, taken.text
        assert world.payments == [SECRET]
        again = await world.post(OWNER, {"input": [answer(owned)], "conversation": owned.conversation_id})
        assert 400 <= again.status < 500
        assert world.payments == [SECRET]
