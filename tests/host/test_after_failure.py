"""Who continues a failed turn continues what came before it: the open questions and the agent's state too."""

from collections.abc import Iterator
from typing import Any

import pytest
from agent_framework import Agent, Content, tool

from hostedagent.protocol.stream.builder import Projection
from hostedagent.stores.approvals import Approvals
from hostedagent.stores.factory import memory_stores
from hostedagent.stores.leases import Lease
from hostedagent.stores.sessions import Sessions
from hostedagent.testing import InProcessClient, OfflineChatClient, ScriptedAgent
from tests.host.world import assert_refusal, hosting, stream

paid: list[int] = []


@tool(approval_mode="always_require")
def pay(amount: int) -> str:
    """Pay an amount."""
    paid.append(amount)
    return f"paid {amount}"


def cashier(*script: Any) -> Agent[Any]:
    paid.clear()
    call = Content.from_function_call("c1", "pay", arguments='{"amount": 5}')
    return Agent(OfflineChatClient(script=[[call], *script]), tools=[pay])


async def asked(http: InProcessClient) -> tuple[str, str]:
    """The response that asks, and the question."""
    log = await stream(http, input="Pay 5.")
    return log.response["id"], log.items[-1]["id"]


def approve(question: str) -> list[dict[str, Any]]:
    return [{"type": "mcp_approval_response", "approval_request_id": question, "approve": True}]


async def test_a_question_can_be_answered_after_a_turn_that_failed() -> None:
    async with hosting(cashier(RuntimeError("busy"), "Paid.")) as http:
        first, question = await asked(http)
        failed = await stream(http, input="Wait.", previous_response_id=first)
        done = await stream(http, input=approve(question), previous_response_id=failed.response["id"])

    assert failed.status == "failed"
    assert (done.status, done.text, paid) == ("completed", "Paid.", [5])


async def test_an_answer_is_given_back_by_a_turn_that_never_ran() -> None:
    agents: list[Any] = []

    def factory() -> Any:
        agents.append(None)
        if len(agents) == 2:
            raise RuntimeError("no agent today")
        return agent

    agent = cashier("Paid.")
    async with hosting(factory) as http:
        first, question = await asked(http)
        failed = await stream(http, input=approve(question), previous_response_id=first)
        done = await stream(http, input=approve(question), previous_response_id=first)

    assert failed.status == "failed"
    assert (done.status, paid) == ("completed", [5])


async def test_an_answer_is_given_back_before_its_conversation_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    stores, release = memory_stores(), Sessions.release
    were_open: list[bool] = []

    async def released(self: Sessions, lease: Lease, **fields: Any) -> None:
        were_open.append(await Approvals(stores.state).is_open(lease.caller, question))
        await release(self, lease, **fields)

    agents: list[Any] = [cashier()]
    async with hosting(lambda: agents.pop(), stores=stores) as http:
        question = (await stream(http, input="Pay 5.", conversation="conv_1")).items[-1]["id"]
        monkeypatch.setattr(Sessions, "release", released)
        failed = await stream(http, input=approve(question), conversation="conv_1")

    assert failed.status == "failed" and were_open == [True]


async def test_an_answer_is_used_up_by_a_turn_that_ran_its_tool_and_failed() -> None:
    async with hosting(cashier(RuntimeError("busy"))) as http:
        first, question = await asked(http)
        failed = await stream(http, input=approve(question), previous_response_id=first)
        again = await http.post("/responses", json={"input": approve(question), "previous_response_id": first})

    assert failed.status == "failed"
    assert_refusal(again, 409)
    assert paid == [5]


async def test_an_item_that_cannot_be_closed_does_not_hide_how_the_turn_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def close(*_: object) -> Iterator[Any]:
        yield from (1 / 0 for _ in range(1))

    monkeypatch.setattr(Projection, "close", close)
    async with hosting(ScriptedAgent(["Sun", TimeoutError("secret")])) as client:
        reply = await client.post("/responses", json={"input": "hi", "store": False})

    assert (reply.status, reply.json()["status"], reply.json()["error"]["code"]) == (200, "failed", "timeout")
