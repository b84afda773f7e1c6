"""The states in which a response can be found: how the owner comes to each, and what must hold at the end."""

import asyncio
import random
import string
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.isolation.world import CONVERSATION, OWNER, SECRET, Owned, World

ALPHABET = string.ascii_letters + string.digits

Reach = Callable[[World, bool], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class State:
    """A state of the owner's response.

    Args:
        name: What a test is called.
        reach: Makes the owner's response and brings it there.
        status: What the owner finds when everybody else has gone; `None` for a response that is gone.
        asks: Whether it is an approval that stands open.
    """

    name: str
    reach: Reach
    status: str | None = "completed"
    asks: bool = False


def fresh_id(prefix: str, length: int = 50) -> str:
    """An id of the right shape that nobody has."""
    return f"{prefix}_{''.join(random.choices(ALPHABET, k=length))}"


def nobody() -> Owned:
    """Ids that do not exist."""
    return Owned(
        fresh_id("caresp"), fresh_id("conv", 7), [fresh_id("msg"), fresh_id("msg")], fresh_id("mcpr"), fresh_id("call")
    )


def _body(text: str, in_conversation: bool, **more: Any) -> dict[str, Any]:
    return {"input": text, **({"conversation": CONVERSATION} if in_conversation else {}), **more}


async def _finished(world: World, in_conversation: bool) -> dict[str, Any]:
    reply = await world.post(OWNER, _body(f"Remember the {SECRET}.", in_conversation))
    assert reply.status == 200, reply.text
    return reply.json()


async def _just_finished(world: World, in_conversation: bool) -> dict[str, Any]:
    more: dict[str, Any] = {"background": True, "stream": True}
    reply = await world.post(OWNER, _body(f"Remember the {SECRET}.", in_conversation, **more))
    return dict(reply.log().response)


async def _long_finished(world: World, in_conversation: bool) -> dict[str, Any]:
    response = await _just_finished(world, in_conversation)
    await world.stop()
    await world.start()
    return response


async def _deleted(world: World, in_conversation: bool) -> dict[str, Any]:
    response = await _just_finished(world, in_conversation)
    assert (await world.as_owner("DELETE", f"/responses/{response['id']}")).status == 200
    return response


async def _asking(world: World, in_conversation: bool) -> dict[str, Any]:
    reply = await world.post(OWNER, _body(f"Please pay for the {SECRET}.", in_conversation))
    assert reply.json()["output"][-1]["type"] == "mcp_approval_request", reply.text
    return reply.json()


async def _running(world: World, in_conversation: bool, **more: Any) -> dict[str, Any]:
    """A turn that stands at the gate in the middle of its answer, and somebody reads on until its end."""
    started: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    body = _body(f"Please wait for the {SECRET}.", in_conversation, stream=True, **more)

    async def read() -> None:
        async with world.client.stream(
            "POST", "/responses", json=body, headers=world.identity.headers(OWNER)
        ) as events:
            async for event in events:
                if not started.done():
                    started.set_result(event["response"])

    world.pending.append(asyncio.create_task(read()))
    response = await started
    await world.gate.reached()
    return response


async def _in_flight(world: World, in_conversation: bool) -> dict[str, Any]:
    return await _running(world, in_conversation)


async def _background_streamed(world: World, in_conversation: bool) -> dict[str, Any]:
    return await _running(world, in_conversation, background=True)


async def _background(world: World, in_conversation: bool) -> dict[str, Any]:
    reply = await world.post(OWNER, _body(f"Please wait for the {SECRET}.", in_conversation, background=True))
    assert reply.status == 200, reply.text
    await world.gate.reached()
    return reply.json()


STATES = (
    State("in flight", _in_flight),
    State("background, running", _background),
    State("background, streamed", _background_streamed),
    State("finished", _finished),
    State("just finished, can be replayed", _just_finished),
    State("long finished, host restarted", _long_finished),
    State("deleted", _deleted, status=None),
    State("asking", _asking, asks=True),
)


async def settle(world: World, state: State, in_conversation: bool) -> Owned:
    """Let the owner come to a state; returns what there is to steal."""
    response = await state.reach(world, in_conversation)
    response_id = response["id"]
    page = await world.as_owner("GET", f"/responses/{response_id}/input_items?order=asc")
    given = [item["id"] for item in page.json()["data"]] if page.status == 200 else []
    made = [item["id"] for item in response["output"]]
    approval = next((item for item in response["output"] if item["type"] == "mcp_approval_request"), None)
    approval_id = approval["id"] if approval else fresh_id("mcpr")
    item_ids = [*given, *made] or [fresh_id("msg")]
    return Owned(response_id, CONVERSATION, item_ids, approval_id)


async def until(world: World, response_id: str, status: str) -> dict[str, Any]:
    """What the owner reads when the response has come to a status."""
    while True:
        reply = await world.as_owner("GET", f"/responses/{response_id}")
        assert reply.status == 200, reply.text
        if reply.json()["status"] == status:
            return reply.json()
        assert reply.json()["status"] in ("queued", "in_progress"), reply.text
        await asyncio.sleep(0.001)
