"""What a turn that was stopped still sends of what its run had produced."""

from __future__ import annotations

from agent_framework import AgentResponseUpdate, Content

from hostedagent.conversation.approvals import ApprovalTracker
from hostedagent.engine.output import TurnOutput
from hostedagent.options import HostOptions
from hostedagent.outcomes import Cancelled
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.protocol.stream.response import ResponseBuilder
from hostedagent.stores.approvals import Approvals
from hostedagent.stores.memory import MemoryStore

RESPONSE_ID = "caresp_" + "1" * 50


def output() -> TurnOutput:
    request = TurnRequest(input=(), response_id=RESPONSE_ID)
    tracker = ApprovalTracker(Approvals(MemoryStore()), request, {})
    return TurnOutput(ResponseBuilder(RESPONSE_ID), tracker, HostOptions(consent_origins=None), is_watched=True)


def said(text: str) -> AgentResponseUpdate:
    return AgentResponseUpdate(contents=[Content.from_text(text)], role="assistant")


def asked() -> AgentResponseUpdate:
    call = Content.from_function_call("c1", "pay", arguments="{}", id="r1")
    return AgentResponseUpdate(contents=[Content.from_function_approval_request("r1", call)], role="assistant")


def used(tokens: int) -> AgentResponseUpdate:
    return AgentResponseUpdate(contents=[Content.from_usage({"output_token_count": tokens})], role="assistant")


def test_a_stopped_run_sends_what_it_said_and_counts_what_it_used() -> None:
    turn = output()
    list(turn.closing(Cancelled("client"), [said("One"), used(7), said(" two")]))

    assert [part["text"] for item in turn.response["output"] for part in item["content"]] == ["One two"]
    assert turn.usage.wire()["output_tokens"] == 7


def test_nothing_leaves_behind_a_question_that_was_not_recorded() -> None:
    turn = output()
    events = list(turn.closing(Cancelled("client"), [said("One"), asked(), said(" two"), used(7)]))

    assert "pay" not in str(events) and "two" not in str(events)
    assert [item["type"] for item in turn.response["output"]] == ["message"]
