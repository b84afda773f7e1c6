"""Approval requests that wait in the session behind those that the caller has seen."""

from __future__ import annotations

from msgspec.structs import asdict

from hostedagent.conversation.continuation import Continuation
from hostedagent.conversation.history.session import unasked_questions
from hostedagent.protocol.types import ApprovalRequest
from hostedagent.stores.approvals import Approval, ApprovalDecision
from hostedagent.stores.sessions import Snapshot

FIRST, SECOND = "caresp_1", "caresp_2"


def request(name: str, asked_by: str) -> ApprovalRequest:
    return ApprovalRequest(name, f"call-{name}", "delete", "{}", asked_by=asked_by)


OPEN = {
    "mcpr_1": request("asked", FIRST),
    "beside": request("beside", FIRST),
    "other": request("other", SECOND),
}
ASKED = Approval(**asdict(OPEN["mcpr_1"]), item_id="mcpr_1", response_id=FIRST, conversation_id=None, expires_at=0.0)
ANSWER = ApprovalDecision(ASKED, True, None, "input[0]")


def test_only_requests_of_the_response_that_is_answered_are_told_with_it() -> None:
    told = unasked_questions(Continuation(Snapshot(open=OPEN), answers=(ANSWER,)))
    assert [row.id for row in told] == ["beside"]


def test_an_answer_whose_response_is_no_longer_kept_tells_nothing_else() -> None:
    assert unasked_questions(Continuation(Snapshot(), answers=(ANSWER,))) == []
