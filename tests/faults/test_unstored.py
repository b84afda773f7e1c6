"""A request whose response cannot be stored gets 503, whatever it asks for, and works when it is sent again."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import pytest
from agent_framework import Agent, Content, tool

from hostedagent import AgentHost
from hostedagent.host import Driver
from hostedagent.stores.base import ResponseRepository, StoreTooLarge, StoreUnavailable
from hostedagent.testing import OfflineChatClient, serve
from tests.stores import StoreKind, opened

DELIVERIES: Final[Mapping[str, dict[str, Any]]] = {
    "whole": {},
    "streamed": {"stream": True},
    "background": {"background": True},
    "background stream": {"background": True, "stream": True},
}


class Full:
    """Responses of which none can be added."""

    def __init__(self, inner: ResponseRepository) -> None:
        self._inner = inner
        self.error: Exception | None = None

    async def create(self, *args: Any, **more: Any) -> None:
        if self.error is not None:
            raise self.error
        await self._inner.create(*args, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
async def test_a_request_that_cannot_be_stored_is_refused_and_may_be_sent_again(
    driver: Driver, kind: StoreKind, delivery: str
) -> None:
    paid: list[str] = []

    @tool(approval_mode="always_require")
    def pay(to: str) -> str:
        """Pay somebody."""
        paid.append(to)
        return "paid"

    asks = Content.from_function_call("c", "pay", arguments='{"to": "ada"}')
    agent = Agent(OfflineChatClient(script=[[asks], "It is done.", "Hello."]), tools=[pay])
    async with opened(kind) as (stores, _):
        full: Any = Full(stores.responses)
        async with serve(AgentHost(agent, stores=replace(stores, responses=full), driver=driver).app) as client:
            asked = (await client.post("/responses", json={"input": "pay", "conversation": "conv_1"})).json()
            question = next(item["id"] for item in asked["output"] if item["type"] == "mcp_approval_request")
            answer = {"type": "mcp_approval_response", "approval_request_id": question, "approve": True}
            body = {"input": [answer], "conversation": "conv_1"}

            full.error = StoreUnavailable("full")
            refused = await client.post("/responses", json={**body, **DELIVERIES[delivery]})
            assert (refused.status, paid) == (503, []), refused.text
            assert refused.headers["retry-after"]
            full.error = None
            again = await client.post("/responses", json=body)
            assert (again.status, again.json()["status"], paid) == (200, "completed", ["ada"]), again.text


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
async def test_a_request_that_is_too_large_to_be_stored_is_the_callers_mistake(driver: Driver, delivery: str) -> None:
    async with opened("memory") as (stores, _):
        full: Any = Full(stores.responses)
        full.error = StoreTooLarge("The record is too large.")
        host = AgentHost(Agent(OfflineChatClient()), stores=replace(stores, responses=full), driver=driver)
        async with serve(host.app) as client:
            refused = await client.post("/responses", json={"input": "hi", **DELIVERIES[delivery]})

    assert refused.status == 400, refused.text
