"""Golden transcripts of the orchestrations of `agent-framework-orchestrations`: what a caller reads of each."""

from __future__ import annotations

import json
from typing import Any

from agent_framework import Agent, Content, Workflow
from agent_framework.orchestrations import (
    ConcurrentBuilder,
    GroupChatBuilder,
    GroupChatState,
    HandoffBuilder,
    MagenticBuilder,
    SequentialBuilder,
)
from inline_snapshot import snapshot

from hostedagent.testing import OfflineChatClient
from tests.host.world import assert_refusal, hosting, stream
from tests.workflows.flows import calls, output, say, texts, turn


def agent(name: str, *script: Any, **keywords: Any) -> Agent[Any]:
    return Agent(OfflineChatClient(script=script), name=name, description=f"Is the {name}.", **keywords)


def sequential() -> Workflow:
    agents = [agent("writer", "a draft"), agent("editor", "the text")]
    return SequentialBuilder(participants=agents, intermediate_output_from=[agents[0]]).build()


async def test_sequential() -> None:
    async with hosting(sequential) as client:
        log = await stream(client)

    assert log.lines() == snapshot(
        [
            "0 created in_progress",
            "1 in_progress",
            "2 item+ 0 message",
            "3 part+ 0.0 output_text",
            '4 text 0.0 "a "',
            '5 text 0.0 "draft"',
            '6 text= 0.0 "a draft"',
            "7 part- 0.0 output_text",
            "8 item- 0 message completed",
            "9 item+ 1 message",
            "10 part+ 1.0 output_text",
            '11 text 1.0 "the "',
            '12 text 1.0 "text"',
            '13 text= 1.0 "the text"',
            "14 part- 1.0 output_text",
            "15 item- 1 message completed",
            "16 completed usage=4/4",
        ]
    )


def concurrent() -> Workflow:
    return ConcurrentBuilder(participants=[agent("poet", "a verse"), agent("critic", "a doubt")]).build()


async def test_concurrent() -> None:
    async with hosting(concurrent) as client:
        log = await stream(client)

    assert log.lines() == snapshot(
        [
            "0 created in_progress",
            "1 in_progress",
            "2 item+ 0 message",
            "3 part+ 0.0 output_text",
            '4 text 0.0 "a verse"',
            "5 item+ 1 message",
            "6 part+ 1.0 output_text",
            '7 text 1.0 "a doubt"',
            '8 text= 0.0 "a verse"',
            "9 part- 0.0 output_text",
            "10 item- 0 message completed",
            '11 text= 1.0 "a doubt"',
            "12 part- 1.0 output_text",
            "13 item- 1 message completed",
            "14 completed",
        ]
    )


def group_chat() -> Workflow:
    def select(state: GroupChatState) -> str:
        return ("host", "guest")[state.current_round % 2]

    agents = [agent("host", "welcome", "goodbye"), agent("guest", "thanks")]
    return GroupChatBuilder(
        participants=agents, selection_func=select, max_rounds=3, intermediate_output_from="all_other"
    ).build()


async def test_group_chat() -> None:
    async with hosting(group_chat) as client:
        log = await stream(client)

    assert log.lines() == snapshot(
        [
            "0 created in_progress",
            "1 in_progress",
            "2 item+ 0 message",
            "3 part+ 0.0 output_text",
            '4 text 0.0 "welcome"',
            '5 text= 0.0 "welcome"',
            "6 part- 0.0 output_text",
            "7 item- 0 message completed",
            "8 item+ 1 message",
            "9 part+ 1.0 output_text",
            '10 text 1.0 "thanks"',
            '11 text= 1.0 "thanks"',
            "12 part- 1.0 output_text",
            "13 item- 1 message completed",
            "14 item+ 2 message",
            "15 part+ 2.0 output_text",
            '16 text 2.0 "goodbye"',
            '17 text= 2.0 "goodbye"',
            "18 part- 2.0 output_text",
            "19 item- 2 message completed",
            "20 item+ 3 message",
            "21 part+ 3.0 output_text",
            '22 text 3.0 "The group chat has reached the maximum number of rounds."',
            '23 text= 3.0 "The group chat has reached the maximum number of rounds."',
            "24 part- 3.0 output_text",
            "25 item- 3 message completed",
            "26 completed usage=6/3",
        ]
    )


TRIAGE = OfflineChatClient(script=[Content.from_function_call("c1", "handoff_to_refunds", arguments="{}")])
REFUNDS = OfflineChatClient(script=["which order?", "it is refunded"])


def handoff() -> Workflow:
    triage, refunds = (
        Agent(client, name=name, require_per_service_call_history_persistence=True)
        for client, name in ((TRIAGE, "triage"), (REFUNDS, "refunds"))
    )
    return HandoffBuilder(name="handoff", participants=[triage, refunds]).with_start_agent(triage).build()


async def test_handoff() -> None:
    async with hosting(handoff) as client:
        log = await stream(client)
        second = await turn(client, "order 7", previous_response_id=log.response["id"])

    assert log.lines() == snapshot(
        [
            "0 created in_progress",
            "1 in_progress",
            "2 item+ 0 mcp_call agent handoff_to_refunds",
            "3 mcp_call.in_progress 0",
            '4 args 0 "{}"',
            '5 args= 0 "{}"',
            "6 mcp_call.completed 0",
            '7 item- 0 mcp_call agent handoff_to_refunds "{\\"handoff_to\\": \\"refunds\\"}" completed',
            "8 item+ 1 message",
            "9 part+ 1.0 output_text",
            '10 text 1.0 "which order?"',
            '11 text= 1.0 "which order?"',
            "12 part- 1.0 output_text",
            "13 item- 1 message completed",
            "14 item+ 2 function_call HandoffAgentUserRequest call-1",
            '15 args 2 "{\\"request\\": {\\"agent_response\\": \\"which order?\\"}, \\"response_schema\\": {\\"items\\": {\\"type\\": \\"string\\"}, \\"type\\": \\"array\\"}}"',  # noqa: E501
            '16 args= 2 "{\\"request\\": {\\"agent_response\\": \\"which order?\\"}, \\"response_schema\\": {\\"items\\": {\\"type\\": \\"string\\"}, \\"type\\": \\"array\\"}}"',  # noqa: E501
            "17 item- 2 function_call HandoffAgentUserRequest call-1 completed",
            "18 completed usage=2/3",
        ]
    )
    assert texts(second) == ["it is refunded"], "a plain message answers the agent that waits for the user"


def _ledger(*, is_done: bool, speaker: str) -> str:
    answers = {
        "is_request_satisfied": is_done,
        "is_in_loop": False,
        "is_progress_being_made": True,
        "next_speaker": speaker,
        "instruction_or_question": "count them",
    }
    return json.dumps({name: {"reason": "so it is", "answer": answer} for name, answer in answers.items()})


class Magentic:
    """Makes the workflow; the models remember where they are, also from one turn to the next."""

    def __init__(self, *, reviews: bool) -> None:
        script = ["facts", "plan", _ledger(is_done=False, speaker="counter"), _ledger(is_done=True, speaker="counter")]
        self._manager = OfflineChatClient(script=[*script, "there are two"])
        self._counter = OfflineChatClient(script=["one, two"])
        self._reviews = reviews

    def __call__(self) -> Workflow:
        counter = Agent(self._counter, name="counter", description="Counts.")
        return MagenticBuilder(
            participants=[counter],
            manager_agent=Agent(self._manager, name="manager"),
            intermediate_output_from=[counter],
            enable_plan_review=self._reviews,
        ).build()


async def test_magentic() -> None:
    async with hosting(Magentic(reviews=False)) as client:
        log = await stream(client)

    assert log.lines() == snapshot(
        [
            "0 created in_progress",
            "1 in_progress",
            "2 item+ 0 message",
            "3 part+ 0.0 output_text",
            '4 text 0.0 "one, "',
            '5 text 0.0 "two"',
            '6 text= 0.0 "one, two"',
            "7 part- 0.0 output_text",
            "8 item- 0 message completed",
            "9 item+ 1 message",
            "10 part+ 1.0 output_text",
            '11 text 1.0 "there are two"',
            '12 text= 1.0 "there are two"',
            "13 part- 1.0 output_text",
            "14 item- 1 message completed",
            "15 completed usage=2/2",
        ]
    )


async def test_magentic_asks_for_a_review_of_its_plan() -> None:
    async with hosting(Magentic(reviews=True)) as client:
        asked = await turn(client, "how many?")
        (call_id,) = calls(asked).values()
        arguments = json.loads(asked["output"][0]["arguments"])
        assert asked["output"][0]["name"] == "MagenticPlanReviewRequest"
        assert "plan" in arguments["request"]["plan"]
        assert arguments["response_schema"]["properties"]["review"]["items"] == {"type": "string"}

        refused = await say(client, [output(call_id, '{"review": [1]}')], previous_response_id=asked["id"])
        assert assert_refusal(refused, 400)["param"] == "input[0].output.review[0]"
        reviewed = await turn(client, [output(call_id, '{"review": []}')], previous_response_id=asked["id"])

    assert texts(reviewed) == ["one, two", "there are two"]


async def test_a_person_looks_at_what_each_agent_of_a_sequence_says() -> None:
    writer = OfflineChatClient(script=["a draft", "a better draft"])
    editor = OfflineChatClient(script=["the text"])

    def reviewed() -> Workflow:
        agents = [Agent(writer, name="writer"), Agent(editor, name="editor")]
        return SequentialBuilder(participants=agents).with_request_info(agents=["writer"]).build()

    async with hosting(reviewed) as client:
        first = await turn(client, "write", conversation="conv_1")
        request = json.loads(first["output"][-1]["arguments"])["request"]
        assert request["agent_response"] == "a draft"
        (call_id,) = calls(first).values()
        second = await turn(client, [output(call_id, '{"messages": ["better"]}')], conversation="conv_1")
        (call_id,) = calls(second).values()
        third = await turn(client, [output(call_id, '{"messages": []}')], conversation="conv_1")

    assert texts(third) == ["the text"]
    assert writer.calls[1].text == "better"
