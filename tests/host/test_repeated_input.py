"""Clients send again what the conversation has: questions, calls in front of their outputs, whole items."""

from __future__ import annotations

from typing import Any

import pytest
from agent_framework import Content

from hostedagent.testing import InProcessClient, ScriptedAgent
from tests.host.approving import answer, asking, call, questions
from tests.host.world import assert_refusal, hosting

USER = {"role": "user", "content": "Pay."}
PAY = call("c1", "pay", to="Ann")
TOOL: dict[str, Any] = {"type": "function", "name": "look_up", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize("form", ["item_reference", "id alone", "whole item", "model_dump"])
async def test_a_question_may_be_named_in_every_form_in_front_of_its_answer(form: str) -> None:
    async with asking(PAY, "Paid.", "Bye.") as desk:
        first = await desk.turn([USER])
        (question,) = questions(first)
        named: Any = {
            "item_reference": {"type": "item_reference", "id": question["id"]},
            "id alone": {"id": question["id"]},
            "whole item": question,
            "model_dump": {**question, "status": None, "agent_reference": None},
        }[form]
        transcript = [USER, named, answer(question)]

        second = await desk.turn(transcript)
        third = await desk.turn([*transcript, *second["output"], {"role": "user", "content": "Thanks."}])

    assert desk.ran == ["pay Ann"]
    assert (second["status"], third["status"]) == ("completed", "completed")


async def test_a_question_may_be_named_although_the_chain_has_it() -> None:
    async with asking(PAY, "Paid.") as desk:
        first = await desk.turn([USER])
        (question,) = questions(first)
        reference = {"type": "item_reference", "id": question["id"]}

        second = await desk.turn([reference, answer(question)], previous_response_id=first["id"])

    assert second["status"] == "completed"
    assert desk.ran == ["pay Ann"]


async def test_a_reference_to_another_callers_question_is_not_found() -> None:
    async with asking(PAY) as desk:
        reply = await desk.post([USER, {"type": "item_reference", "id": "mcpr_unknown"}, answer("mcpr_unknown")])

    assert assert_refusal(reply, 404)["param"] == "input[1].id"


async def started(client: InProcessClient, **fields: Any) -> dict[str, Any]:
    reply = await client.post("/responses", json={"input": "hi", "tools": [TOOL], **fields})
    assert reply.status == 200, reply.text
    return reply.json()


@pytest.mark.parametrize("continues", ["previous_response_id", "conversation"])
@pytest.mark.parametrize("keeps_id", [True, False])
async def test_a_call_that_is_sent_again_in_front_of_its_output_is_that_call(continues: str, keeps_id: bool) -> None:
    agent = ScriptedAgent([Content.from_function_call("c1", "look_up", arguments="{}")], ["ok"], ["ok"])
    async with hosting(agent) as client:
        more = {"conversation": "conv_1"} if continues == "conversation" else {}
        first = await started(client, **more)
        again = dict(first["output"][0])
        if not keeps_id:
            del again["id"]
        link = more or {"previous_response_id": first["id"]}
        output = {"type": "function_call_output", "call_id": "c1", "output": "x"}
        second = (await client.post("/responses", json={"input": [again, output], "tools": [TOOL], **link})).json()
        link = more or {"previous_response_id": second["id"]}
        third = (await client.post("/responses", json={"input": "more", **link})).json()

    assert (second["status"], third["status"]) == ("completed", "completed"), second
    for seen in agent.calls[1:]:
        kinds = [content.type for message in seen.messages for content in message.contents]
        assert kinds.count("function_call") == kinds.count("function_result") == 1, kinds


@pytest.mark.parametrize("form", ["item", "reference", "id alone"])
async def test_an_item_that_the_chain_has_is_refused(form: str) -> None:
    async with hosting(ScriptedAgent(["ok"], ["ok"])) as client:
        first = await started(client)
        item = first["output"][0]
        named = {
            "item": item,
            "reference": {"type": "item_reference", "id": item["id"]},
            "id alone": {"id": item["id"]},
        }
        body = {"input": [named[form], {"role": "user", "content": "more"}], "previous_response_id": first["id"]}
        error = assert_refusal(await client.post("/responses", json=body), 400)

        assert error["param"] == "input[0].id"
        transcript = {"input": [{"role": "user", "content": "hi"}, *body["input"]]}
        assert (await client.post("/responses", json=transcript)).status == 200, "a transcript has it once"


async def test_a_call_with_the_id_of_an_open_call_and_other_arguments_is_refused() -> None:
    agent = ScriptedAgent([Content.from_function_call("c1", "look_up", arguments="{}")], ["ok"])
    async with hosting(agent) as client:
        first = await started(client)
        other = {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": '{"a": 1}'}
        output = {"type": "function_call_output", "call_id": "c1", "output": "x"}
        body = {"input": [other, output], "tools": [TOOL], "previous_response_id": first["id"]}
        error = assert_refusal(await client.post("/responses", json=body), 400)

    assert error["param"] == "input[0].call_id"
