"""People in the loop: what a workflow asks, what counts as an answer, and what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agent_framework import Content, Message, WorkflowBuilder, WorkflowContext, WorkflowExecutor, handler

from hostedagent.testing import OfflineChatClient
from tests.host.world import assert_refusal, hosting
from tests.workflows.flows import (
    Asker,
    AskNumber,
    Deleter,
    approval,
    asking,
    calls,
    output,
    questions,
    say,
    talking,
    texts,
    turn,
)


async def test_a_request_is_a_function_call_with_what_is_asked_and_the_schema_of_the_answer() -> None:
    async with hosting(asking) as client:
        asked = await turn(client, "city")

    (item,) = asked["output"]
    assert (item["type"], item["name"], item["status"]) == ("function_call", "AskCity", "completed")
    arguments = json.loads(item["arguments"])
    assert arguments["request"] == {"question": "Which city?", "near": {"x": 1, "y": 2}}
    assert arguments["response_schema"]["required"] == ["name", "people"]
    assert arguments["response_schema"]["properties"]["people"]["type"] == "integer"


class AskerWhoGoesOn(Asker):
    """Asks, and says something before it is answered."""

    @handler
    async def start(self, messages: list[Message], ctx: WorkflowContext[Any, str]) -> None:
        await ctx.request_info(AskNumber("How many?"), int)
        await ctx.yield_output("Meanwhile.")


async def test_a_request_is_an_item_in_front_of_what_is_said_after_it() -> None:
    async with hosting(lambda: WorkflowBuilder(start_executor=AskerWhoGoesOn(id="asker"), name="asks")) as client:
        asked = await turn(client, "hi")

    assert [item["type"] for item in asked["output"]] == ["function_call", "message"]


@pytest.mark.parametrize(
    ("asked", "name", "answer", "said"),
    [
        ("number", "AskNumber", "41", "number=41"),
        ("flag", "AskFlag", "true", "flag=True"),
        ("flag", "AskFlag", "no", "flag=False"),
        ("text", "AskText", "any words", "text='any words'"),
        ("text", "AskText", '"quoted"', "text='\"quoted\"'"),
        ("point", "AskPoint", '{"x": 1, "y": 2}', "point=Point(x=1, y=2)"),
        ("point", "AskPoint", '{"x": "1"}', "point=Point(x=1, y=0)"),
        ("city", "AskCity", '{"name": "Lyon", "people": 5}', "city=City(name='Lyon', people=5)"),
        ("tags", "AskTags", '["a", "b"]', "tags=['a', 'b']"),
        ("number", "AskNumber", [{"type": "input_text", "text": "7"}], "number=7"),
    ],
)
async def test_an_answer_reaches_the_workflow_as_the_type_it_asked_for(
    asked: str, name: str, answer: Any, said: str
) -> None:
    async with hosting(asking) as client:
        first = await turn(client, asked)
        second = await turn(client, [output(calls(first)[name], answer)], previous_response_id=first["id"])

    assert texts(second) == [said]


@pytest.mark.parametrize(
    ("asked", "answer", "param"),
    [
        ("number", "many", "input[0].output"),
        ("number", "1.5", "input[0].output"),
        ("flag", "perhaps", "input[0].output"),
        ("point", '{"y": 2}', "input[0].output.x"),
        ("point", "[1, 2]", "input[0].output"),
        ("city", '{"name": "Lyon", "people": "all"}', "input[0].output.people"),
        ("tags", '["a", 2]', "input[0].output[1]"),
        ("number", [{"type": "input_image", "image_url": "https://example.com/a.png"}], "input[0].output"),
    ],
)
async def test_a_wrong_answer_is_refused_by_its_field_and_uses_nothing_up(asked: str, answer: Any, param: str) -> None:
    right = {"number": "1", "flag": "true", "point": '{"x": 1}', "tags": "[]", "city": '{"name": "L", "people": 1}'}
    async with hosting(asking) as client:
        first = await turn(client, asked)
        (call_id,) = calls(first).values()
        refused = await say(client, [output(call_id, answer)], previous_response_id=first["id"])
        assert assert_refusal(refused, 400)["param"] == param

        again = await turn(client, [output(call_id, right[asked])], previous_response_id=first["id"])

    assert texts(again)[0].startswith(f"{asked}=")


async def test_a_wrong_answer_gives_the_conversation_back() -> None:
    async with hosting(asking) as client:
        first = await turn(client, "number", conversation="conv_1")
        (call_id,) = calls(first).values()
        assert_refusal(await say(client, [output(call_id, "many")], conversation="conv_1"), 400)

        assert texts(await turn(client, [output(call_id, "3")], conversation="conv_1")) == ["number=3"]


async def test_several_requests_are_answered_together() -> None:
    async with hosting(asking) as client:
        first = await turn(client, "number flag")
        ids = calls(first)
        both = [output(ids["AskFlag"], "true"), output(ids["AskNumber"], "2")]
        second = await turn(client, both, previous_response_id=first["id"])

    assert sorted(texts(second)) == ["flag=True", "number=2"]


async def test_several_requests_are_answered_one_at_a_time_in_any_order() -> None:
    async with hosting(asking) as client:
        first = await turn(client, "number flag", conversation="conv_1")
        ids = calls(first)
        second = await turn(client, [output(ids["AskFlag"], "true")], conversation="conv_1")
        assert texts(second) == ["flag=True"]
        assert calls(second) == {}, "what is open stays open under its id"

        used = await say(client, [output(ids["AskFlag"], "false")], conversation="conv_1")
        assert_refusal(used, 400)
        third = await turn(client, [output(ids["AskNumber"], "2")], conversation="conv_1")
        assert texts(third) == ["number=2"]
        assert_refusal(await say(client, [output(ids["AskNumber"], "2")], conversation="conv_1"), 400)


async def test_the_same_request_answered_twice_in_one_request_is_refused() -> None:
    async with hosting(asking) as client:
        first = await turn(client, "number")
        twice = [output(calls(first)["AskNumber"], "1"), output(calls(first)["AskNumber"], "2")]
        refused = await say(client, twice, previous_response_id=first["id"])

    assert assert_refusal(refused, 400)["param"] == "input[1].call_id"


async def test_an_id_that_nobody_asked_with_is_refused_and_what_is_open_is_named() -> None:
    async with hosting(asking) as client:
        first = await turn(client, "number")
        refused = await say(client, [output("call_unknown", "1")], previous_response_id=first["id"])

    error = assert_refusal(refused, 400)
    assert error["param"] == "input[0].call_id"
    assert calls(first)["AskNumber"] in error["message"]


async def test_an_id_of_another_conversation_is_refused() -> None:
    async with hosting(asking) as client:
        mine = await turn(client, "number", conversation="conv_1")
        await turn(client, "number", conversation="conv_2")
        refused = await say(client, [output(calls(mine)["AskNumber"], "1")], conversation="conv_2")

    assert_refusal(refused, 400)


async def test_a_message_while_a_number_is_asked_is_refused_and_names_what_is_open() -> None:
    async with hosting(asking) as client:
        first = await turn(client, "number")
        refused = await say(client, "41", previous_response_id=first["id"])

    error = assert_refusal(refused, 400)
    assert error["param"] == "input"
    assert "AskNumber" in error["message"] and calls(first)["AskNumber"] in error["message"]


async def test_a_message_answers_the_only_request_when_that_takes_a_text() -> None:
    async with hosting(asking) as client:
        first = await turn(client, "text")
        assert texts(await turn(client, "plain words", previous_response_id=first["id"])) == ["text='plain words'"]

        two = await turn(client, "text number")
        assert_refusal(await say(client, "plain words", previous_response_id=two["id"]), 400)


async def test_an_answer_with_a_message_beside_it_is_refused() -> None:
    async with hosting(asking) as client:
        first = await turn(client, "number")
        mixed = [output(calls(first)["AskNumber"], "1"), {"role": "user", "content": "and hurry"}]
        refused = await say(client, mixed, previous_response_id=first["id"])

    assert assert_refusal(refused, 400)["param"] == "input[1]"


async def test_a_workflow_that_got_all_its_answers_takes_messages_again() -> None:
    async with hosting(asking) as client:
        first = await turn(client, "number", conversation="conv_1")
        await turn(client, [output(calls(first)["AskNumber"], "1")], conversation="conv_1")
        third = await turn(client, "flag", conversation="conv_1")

    assert list(calls(third)) == ["AskFlag"]


def _deleting(deleter: Deleter, *paths: str) -> Any:
    """A factory of two agents of which the first one deletes files, as far as it is allowed to."""
    wanted = [
        Content.from_function_call(f"c{n}", "delete_file", arguments=f'{{"path": "{p}"}}') for n, p in enumerate(paths)
    ]
    first = OfflineChatClient(script=[wanted, "files are done"])
    second = OfflineChatClient(script=["noted"])
    return lambda: talking(first, second, tools=[deleter.tool])


async def test_an_agent_inside_a_workflow_asks_before_its_tool_runs_and_goes_on_when_allowed() -> None:
    deleter = Deleter()
    async with hosting(_deleting(deleter, "a.txt")) as client:
        asked = await turn(client, "clean up")
        (question,) = questions(asked)
        assert (question["name"], json.loads(question["arguments"])) == ("delete_file", {"path": "a.txt"})
        assert calls(asked) == {} and deleter.ran == []

        answered = await turn(client, [approval(question)], previous_response_id=asked["id"])

    assert deleter.ran == ["a.txt"]
    ran = answered["output"][0]
    assert (ran["type"], ran["output"], ran["approval_request_id"]) == ("mcp_call", "deleted a.txt", question["id"])
    assert [item["type"] for item in answered["output"][1:]] == ["message", "message"]
    assert texts(answered) == ["files are done", "noted"]


async def test_a_tool_that_was_refused_does_not_run() -> None:
    deleter = Deleter()
    async with hosting(_deleting(deleter, "a.txt")) as client:
        asked = await turn(client, "clean up", conversation="conv_1")
        answered = await turn(client, [approval(questions(asked)[0], approve=False)], conversation="conv_1")

    assert deleter.ran == []
    assert texts(answered) == ["files are done", "noted"]


async def test_two_approvals_in_a_workflow_are_given_one_at_a_time() -> None:
    deleter = Deleter()
    async with hosting(_deleting(deleter, "a.txt", "b.txt")) as client:
        asked = await turn(client, "clean up", conversation="conv_1")
        one, two = questions(asked)
        waiting = await turn(client, [approval(two)], conversation="conv_1")
        assert texts(waiting) == [] and deleter.ran == []
        assert_refusal(await say(client, [approval(two)], conversation="conv_1"), 409)

        answered = await turn(client, [approval(one)], conversation="conv_1")

    assert sorted(deleter.ran) == ["a.txt", "b.txt"]
    assert texts(answered) == ["files are done", "noted"]


async def test_an_approval_in_a_workflow_counts_once() -> None:
    deleter = Deleter()
    async with hosting(_deleting(deleter, "a.txt")) as client:
        asked = await turn(client, "clean up")
        await turn(client, [approval(questions(asked)[0])], previous_response_id=asked["id"])
        assert_refusal(await say(client, [approval(questions(asked)[0])], previous_response_id=asked["id"]), 409)

    assert deleter.ran == ["a.txt"]


async def test_a_message_while_an_approval_is_asked_is_refused_and_names_it() -> None:
    deleter = Deleter()
    async with hosting(_deleting(deleter, "a.txt")) as client:
        asked = await turn(client, "clean up")
        error = assert_refusal(await say(client, "never mind", previous_response_id=asked["id"]), 400)
        assert "delete_file" in error["message"]

        answered = await turn(client, [approval(questions(asked)[0])], previous_response_id=asked["id"])

    assert texts(answered) == ["files are done", "noted"]


async def test_who_keeps_the_transcript_approves_by_sending_it_back() -> None:
    deleter = Deleter()
    async with hosting(_deleting(deleter, "a.txt")) as client:
        asked = await turn(client, "clean up", store=False)
        (question,) = questions(asked)
        said = [{"role": "user", "content": "clean up"}, dict(question)]
        answered = await turn(client, [*said, approval(question)], store=False)

    assert deleter.ran == ["a.txt"]
    assert texts(answered) == ["files are done", "noted"]


async def test_a_workflow_inside_a_workflow_asks_too() -> None:
    def nested() -> WorkflowBuilder:
        inner = WorkflowExecutor(asking(), id="inner", propagate_request=True)
        return WorkflowBuilder(start_executor=inner, name="outer", output_from=[inner])

    async with hosting(nested) as client:
        first = await turn(client, "point")
        assert list(calls(first)) == ["AskPoint"]
        call_id = calls(first)["AskPoint"]
        assert_refusal(await say(client, [output(call_id, "{}")], previous_response_id=first["id"]), 400)
        second = await turn(client, [output(call_id, '{"x": 3}')], previous_response_id=first["id"])

    assert second["status"] == "completed"


@pytest.mark.parametrize("asked", ["number", "text", "city"])
async def test_an_answer_inside_a_transcript_is_refused_with_what_to_send(asked: str) -> None:
    async with hosting(asking) as client:
        first = await turn(client, asked)
        (question,) = first["output"]
        answer = output(question["call_id"], "41")
        transcript = [{"role": "user", "content": asked}, question, answer]
        error = assert_refusal(await client.post("/responses", json={"input": transcript}), 400)
        reference = [{"role": "user", "content": asked}, {"id": question["id"]}, answer]
        again = assert_refusal(await client.post("/responses", json={"input": reference}), 400)

    assert error["param"] == again["param"] == "input[2].call_id"
    assert "previous_response_id" in error["message"]


async def test_a_message_after_a_question_for_a_text_in_a_transcript_is_refused_with_what_to_send() -> None:
    async with hosting(asking) as client:
        first = await turn(client, "text")
        (question,) = first["output"]
        transcript = [{"role": "user", "content": "text"}, question, {"role": "user", "content": "Ada"}]
        error = assert_refusal(await client.post("/responses", json={"input": transcript}), 400)
        reference = [*transcript[:1], {"id": question["id"]}, *transcript[2:]]
        again = assert_refusal(await client.post("/responses", json={"input": reference}), 400)

    for refused in (error, again):
        assert refused["param"] == "input[2]"
        assert "previous_response_id" in refused["message"]


async def test_a_transcript_that_goes_on_after_another_question_starts_the_workflow_again() -> None:
    async with hosting(asking) as client:
        (question,) = (await turn(client, "number"))["output"]
        said = [{"role": "user", "content": "number"}, question, {"role": "user", "content": "text"}]
        (other,) = (await turn(client, said))["output"]

    assert other["type"] == "function_call"
