"""Whichever call of a turn fails on a store of ours: the caller gets 503 or a failed response, and nothing stays.

The calls are those that a good turn makes: each is failed once, and the turn is sent again when the store works.
"""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pytest
from agent_framework import Agent, Content, tool

from hostedagent import AgentHost
from hostedagent.host import Driver
from hostedagent.stores.base import StoreUnavailable
from hostedagent.stores.factory import Stores
from hostedagent.testing import InProcessClient, OfflineChatClient, Reply, serve
from tests.patience import PATIENCE
from tests.stores import StoreKind, opened

SECRET: Final = "secret-1"
MOST_CALLS: Final = 60
"""More than any turn makes: a turn whose calls never end is a mistake."""

STORES: Final[tuple[StoreKind, ...]] = ("memory", "sqlite", "postgres")
DRIVERS: Final[tuple[Driver, ...]] = ("agentserver", "starlette")
DELIVERIES: Final[dict[str, dict[str, Any]]] = {
    "plain": {},
    "streamed": {"stream": True},
    "background": {"background": True},
}
TURNS: Final = ("first", "chained", "conversation", "asking", "answering")


@dataclass(slots=True)
class Failing:
    """Counts the calls of a store, and fails one."""

    at: int | None = None
    calls: list[str] = field(default_factory=list[str])

    def arm(self, at: int | None) -> None:
        self.at = at
        self.calls.clear()

    def watch(self, stores: Stores) -> Stores:
        """The stores, with everything that is awaited counted."""
        return replace(
            stores,
            state=self.wrap(stores.state),
            responses=self.wrap(stores.responses),
            events=None if stores.events is None else self.wrap(stores.events),
            signals=self.wrap(stores.signals),
        )

    def wrap(self, store: Any) -> Any:
        """The store, counted."""
        failing = self

        class Counted:
            def __getattr__(self, name: str) -> Any:
                value = getattr(store, name)
                return failing.counted(name, value) if inspect.iscoroutinefunction(value) else value

        return Counted()

    def counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        async def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) == self.at:
                raise StoreUnavailable(SECRET)
            return await call(*args, **kwargs)

        return counted


@tool(approval_mode="always_require")
def book(city: str) -> str:
    """Book a trip."""
    return f"booked {city}"


def _agent(messages: Any, _: Any) -> Any:
    if messages[-1].role == "tool":
        return "It is booked."
    call = Content.from_function_call("call_1", "book", arguments='{"city": "Oslo"}')
    return [call] if messages[-1].text == "book" else "Hello."


@dataclass(slots=True)
class World:
    """A host on a store that fails when it is told to."""

    client: InProcessClient
    failing: Failing
    talks: int = 0

    async def begin(self, turn: str) -> dict[str, Any]:
        """What comes before a turn, and its body."""
        self.talks += 1
        match turn:
            case "chained":
                return {"input": "hi", "previous_response_id": (await self.good({"input": "hi"}))["id"]}
            case "conversation":
                join = {"conversation": f"conv_{self.talks}"}
                await self.good({"input": "hi", **join})
                return {"input": "hi", **join}
            case "asking":
                return {"input": "book"}
            case "answering":
                asked = await self.good({"input": "book"})
                question = next(row for row in asked["output"] if row["type"] == "mcp_approval_request")
                answer = {"type": "mcp_approval_response", "approval_request_id": question["id"], "approve": True}
                return {"input": [answer], "previous_response_id": asked["id"]}
            case _:
                return {"input": "hi"}

    async def good(self, body: dict[str, Any]) -> dict[str, Any]:
        status, response, text = await self.turn(body, {})
        assert (status, response.get("status")) == (200, "completed"), text
        return response

    async def turn(self, body: dict[str, Any], delivery: dict[str, Any]) -> tuple[int, dict[str, Any], str]:
        """One turn, to its end: the status, the response, and everything that was sent."""
        async with asyncio.timeout(PATIENCE):
            reply: Reply = await self.client.post("/responses", json={**body, **delivery})
            text = reply.text
            if reply.status != 200:
                return reply.status, {}, text
            if "stream" in delivery:
                events = reply.log().events
                last = events[-1]
                return 200, last.get("response", {"status": "failed"}) if last["type"] != "error" else {}, text
            response = reply.json()
            while response["status"] in ("queued", "in_progress"):
                seen = await self.client.get(f"/responses/{response['id']}")
                assert seen.status in (200, 404, 503), seen.text
                if seen.status == 404:
                    return 200, {"status": "failed"}, text
                if seen.status == 200:  # Else it is the reading that has failed.
                    response = seen.json()
            return 200, response, text


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("driver", DRIVERS)
async def test_each_call_of_a_turn_may_fail(
    driver: Driver, store: StoreKind, turn: str, delivery: str, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Failing()
    agent = Agent(OfflineChatClient(script=[_agent] * 1000), tools=[book])

    async with opened(store) as (kept, _):
        host = AgentHost(agent, stores=failing.watch(kept), driver=driver)
        assert await failed_calls(host, failing, turn, delivery) > 1
    assert not [row for row in caplog.records if row.name.startswith("hostedagent") and SECRET in row.getMessage()]


async def failed_calls(host: AgentHost, failing: Failing, turn: str, delivery: str) -> int:
    """Fail each call of a turn, one in each turn; returns how many were failed."""
    async with serve(host.app) as client:
        world, at, failed = World(client, failing), 0, 0
        while True:
            at += 1
            assert at < MOST_CALLS
            body = await world.begin(turn)
            failing.arm(at)
            status, response, text = await world.turn(body, DELIVERIES[delivery])
            await client.idle()
            was_reached = len(failing.calls) >= at
            where = f"call {at}, {failing.calls[:at][-1:]}: {text[-400:]}"
            failing.arm(None)
            assert status in (200, 503), where
            assert SECRET not in text
            if not was_reached:
                return failed
            failed += 1
            if (status, response.get("status")) != (200, "completed"):
                again = await world.turn(body, {})
                # An approval that was answered is not carried out twice.
                assert again[0] == 200 or turn == "answering", f"{where}; then {again[2][-400:]}"
