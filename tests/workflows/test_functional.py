"""Functional workflows: answers reach them, nothing runs twice, and what they take is read from the input."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from agent_framework import Message, RunContext, step, workflow
from pydantic import BaseModel

from hostedagent import AgentHost, ConfigurationError
from hostedagent.testing import InProcessClient
from tests.host.world import assert_refusal, hosting

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
RAN: list[str] = []


@dataclass
class Order:
    item: str
    count: int = 1


class Decision(BaseModel):
    granted: bool


with warnings.catch_warnings():
    warnings.simplefilter("ignore")

    @step
    async def prepare(text: str) -> str:
        RAN.append(f"prepare {text}")
        return text.upper()

    @step
    async def finish(text: str) -> Order:
        RAN.append(f"finish {text}")
        return Order(text)

    @workflow
    async def reviewing(text: str, ctx: RunContext) -> Order:
        prepared = await prepare(text)
        decision = await ctx.request_info(Order(prepared), Decision)
        count = await ctx.request_info("How many?", int)
        order = await finish(f"{prepared} {decision.granted} {count}")
        return Order(order.item, count)

    @workflow
    async def ordering(order: Order) -> str:
        return f"{order.count} of {order.item}"

    @workflow(name="counting")
    async def counting(messages: list[Message]) -> str:
        return " | ".join(f"{message.role}: {message.text}" for message in messages)


SHAPES: dict[str, Callable[[Any], Any]] = {
    "definition": lambda flow: flow,
    "factory of a workflow": lambda flow: lambda: flow.build(),
    "factory of its agent": lambda flow: lambda: flow.build().as_agent(),
}
SERVED = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    RAN.clear()


async def respond(http: InProcessClient, given: Any, **fields: Any) -> dict[str, Any]:
    reply = await http.post("/responses", json={"input": given, **fields})
    assert reply.status == 200, reply.text
    response = reply.json()
    assert response["status"] == "completed", reply.text
    return response


def answer(response: dict[str, Any], output: str) -> list[dict[str, Any]]:
    (asked,) = [item for item in response["output"] if item["type"] == "function_call"]
    return [{"type": "function_call_output", "call_id": asked["call_id"], "output": output}]


def text(response: dict[str, Any]) -> str:
    return response["output"][-1]["content"][0]["text"]


@SERVED
@pytest.mark.parametrize("by", ["previous_response_id", "conversation"])
async def test_two_questions_are_answered_and_no_step_runs_twice(shape: Callable[[Any], Any], by: str) -> None:
    def after(response: dict[str, Any] | None) -> dict[str, Any]:
        if by == "conversation":
            return {"conversation": "conv_1"}
        return {"previous_response_id": response["id"]} if response else {}

    async with hosting(shape(reviewing)) as http:
        first = await respond(http, "bike", **after(None))
        second = await respond(http, answer(first, '{"granted": true}'), **after(first))
        third = await respond(http, answer(second, "3"), **after(second))

    assert json.loads(first["output"][-1]["arguments"])["response_schema"]["required"] == ["granted"]
    assert RAN == ["prepare bike", "finish BIKE True 3"]
    assert "BIKE True 3" in text(third)


@SERVED
async def test_two_conversations_answer_the_same_request_id(shape: Callable[[Any], Any]) -> None:
    async with hosting(shape(reviewing)) as http:
        for name in ("a", "b"):
            fields = {"conversation": f"conv_{name}"}
            first = await respond(http, name, **fields)
            second = await respond(http, answer(first, '{"granted": false}'), **fields)
            await respond(http, answer(second, "1"), **fields)

            again = await respond(http, f"{name} again", **fields)
            assert again["output"][-1]["type"] == "function_call"

    assert [row for row in RAN if row.startswith("prepare")] == [
        "prepare a",
        "prepare a again",
        "prepare b",
        "prepare b again",
    ]


async def test_a_branch_of_a_question_is_answered_anew() -> None:
    async with hosting(SHAPES["definition"](reviewing)) as http:
        asked = await respond(http, "bike")
        for granted in ("true", "false"):
            fields = {"previous_response_id": asked["id"]}
            second = await respond(http, answer(asked, f'{{"granted": {granted}}}'), **fields)
            last = await respond(http, answer(second, "2"), previous_response_id=second["id"])
            assert f"BIKE {granted.capitalize()} 2" in text(last)


async def test_an_answer_of_the_wrong_type_is_refused_and_the_question_stays_open() -> None:
    async with hosting(SHAPES["definition"](reviewing)) as http:
        asked = await respond(http, "bike")
        fields = {"previous_response_id": asked["id"]}

        reply = await http.post("/responses", json={"input": answer(asked, '{"granted": "perhaps"}'), **fields})
        assert assert_refusal(reply, 400)["param"] == "input[0].output.granted"

        await respond(http, answer(asked, '{"granted": true}'), **fields)


async def test_a_function_that_takes_messages_gets_the_transcript() -> None:
    async with hosting(SHAPES["definition"](counting)) as http:
        first = await respond(http, "one")
        second = await respond(http, "two", previous_response_id=first["id"])

    assert text(first) == "user: one"
    assert text(second) == "user: one | assistant: user: one | user: two"


async def test_a_function_that_takes_a_dataclass_is_fed_from_json() -> None:
    async with hosting(SHAPES["definition"](ordering)) as http:
        assert text(await respond(http, '{"item": "bike", "count": 2}')) == "2 of bike"
        assert text(await respond(http, '{"item": "bell"}')) == "1 of bell"

        for wrong, param in (('{"count": 2}', ".item"), ('{"item": "a", "count": "x"}', ".count"), ("two bikes", "")):
            error = assert_refusal(await http.post("/responses", json={"input": wrong}), 400)
            assert error["param"] == f"input[0].content{param}"
            assert '"count"' in error["message"]


@pytest.mark.parametrize(
    "make", [lambda: reviewing.build(), lambda: reviewing.build().as_agent()], ids=["workflow", "agent"]
)
def test_a_functional_workflow_that_turns_would_share_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError, match="function that builds a fresh one"):
        AgentHost(make())
