"""Journals: whole when they come back, and gone some time after the turn is over."""

from __future__ import annotations

from hostedagent.identity import Caller, IsolationKeys, Scope
from hostedagent.stores.approvals import Approval, ApprovalDecision
from hostedagent.stores.checkpoints import Checkpoint, OpenRequest, WorkflowState
from hostedagent.stores.journals import Ended, Journal, Journals
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.sessions import Snapshot

ADA = Caller(Scope("user:ada"))
ASKED = Approval(
    "c1", "c1", "pay", "{}", item_id="mcpr_1", response_id="resp_1", conversation_id="conv_1", expires_at=5.0
)
FULL = Journal(
    Scope("user:ada", "chat"),
    IsolationKeys("ada", "chat"),
    is_streamed=True,
    lease="process:turn",
    version=("resp_0", "msg_0"),
    answers=(ApprovalDecision(ASKED, True, "go on", "input[0]"),),
    checkpoint=WorkflowState(Checkpoint("resp_1:0", text="abc"), {"c1": OpenRequest("c1", "ask")}),
    said=("msg_1",),
    ended=Ended({"id": "resp_1", "status": "completed", "output": []}, Snapshot(approvals=("mcpr_2",))),
)


async def test_a_journal_comes_back_whole() -> None:
    journals = Journals(MemoryStore())
    await journals.write(ADA, "resp_1", FULL)
    await journals.write(ADA, "resp_2", Journal(Scope("local"), IsolationKeys()))

    assert await journals.find(ADA, "resp_1") == FULL
    assert await journals.find(ADA, "resp_2") == Journal(Scope("local"), IsolationKeys())
    assert await journals.find(ADA, "resp_3") is None


async def test_an_end_that_is_too_large_is_not_written_and_the_rest_stays() -> None:
    journals = Journals(MemoryStore())
    await journals.write(ADA, "resp_1", FULL)
    large = Ended({"id": "resp_1", "output": ["x" * 1_000_000]}, Snapshot())

    await journals.write_end(ADA, "resp_1", Journal(FULL.scope, FULL.isolation, ended=large))
    assert await journals.find(ADA, "resp_1") == FULL
