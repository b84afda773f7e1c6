"""Questions that an agent asks under the same request id in every conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from agent_framework import AgentResponseUpdate, AgentSession, BaseAgent, Content, Message

from hostedagent.testing import InProcessClient
from tests.host.world import assert_refusal, hosting


class Guard(BaseAgent):
    """Asks for the same approval in every turn that does not answer it, and again after an answer that says no."""

    def run(self, messages: Any = None, *, stream: bool = False, session: AgentSession | None = None) -> Any:
        return self._updates(messages)

    async def _updates(self, messages: list[Message]) -> AsyncIterator[AgentResponseUpdate]:
        said = [row for message in messages for row in message.contents if row.type == "function_approval_response"]
        if said and said[-1].approved:
            yield AgentResponseUpdate(contents=[Content.from_text("open")], role="assistant")
            return
        call = Content.from_function_call("call-1", "open_gate", arguments="{}", id="request-1")
        request = Content.from_function_approval_request("request-1", call)
        yield AgentResponseUpdate(contents=[request], role="assistant")


def guard() -> Any:
    return Guard(name="guard")


async def turn(http: InProcessClient, given: Any, **fields: Any) -> dict[str, Any]:
    reply = await http.post("/responses", json={"input": given, **fields})
    assert reply.status == 200, reply.text
    assert reply.json()["status"] == "completed", reply.text
    return reply.json()


def answer(response: dict[str, Any], approve: bool) -> list[dict[str, Any]]:
    (asked,) = [item["id"] for item in response["output"] if item["type"] == "mcp_approval_request"]
    return [{"type": "mcp_approval_response", "approval_request_id": asked, "approve": approve}]


@pytest.mark.parametrize("by", ["conversation", "previous_response_id"])
async def test_each_conversation_answers_its_own_question(by: str) -> None:
    async with hosting(guard()) as http:
        for name in ("a", "b"):
            fields = {"conversation": f"conv_{name}"} if by == "conversation" else {}
            asked = await turn(http, "open the gate", **fields)
            fields = fields or {"previous_response_id": asked["id"]}
            opened = await turn(http, answer(asked, True), **fields)

            assert opened["output"][-1]["content"][0]["text"] == "open"

            again = await http.post("/responses", json={"input": answer(asked, True), **fields})
            assert_refusal(again)


async def test_a_question_that_comes_again_after_its_answer_is_a_new_one() -> None:
    async with hosting(guard()) as http:
        asked = await turn(http, "open the gate", conversation="conv_1")
        refused = await turn(http, answer(asked, False), conversation="conv_1")
        opened = await turn(http, answer(refused, True), conversation="conv_1")

    assert opened["output"][-1]["content"][0]["text"] == "open"
