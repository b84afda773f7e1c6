"""Answers that must not count: a clear status, no tool, no model, nothing stored."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import openai
import pytest

from hostedagent import HostOptions
from hostedagent.identity import Caller, Scope
from hostedagent.stores.approvals import ANSWERED, Approvals
from hostedagent.stores.base import Key
from hostedagent.stores.factory import Stores, memory_stores
from hostedagent.stores.memory import MemoryStore
from hostedagent.testing import Reply
from tests.host.approving import Desk, answer, asking, beginning, call, following, questions
from tests.host.world import Writes, assert_refusal

WAYS = ("previous_response_id", "conversation")
PAY = [call("c1", "pay", to="ada")]
PAY_BOB = [call("c2", "pay", to="bob")]
UNKNOWN = f"mcpr_{'0' * 16}00{'x' * 32}"
PARAM = "input[0].approval_request_id"


async def refused(desk: Desk, given: Any, status: int, writes: Writes, **body: Any) -> dict[str, Any]:
    """Send an answer that must not count, each way, and see that nothing happened."""
    before = (list(desk.ran), len(desk.model.calls), len(writes.created))
    for delivery in ({}, {"stream": True}, {"background": True}):
        headers: Mapping[str, str] | None = body.pop("headers", None)
        error = assert_refusal(await desk.post(given, headers=headers, **delivery, **body), status)
        body |= {"headers": headers}
    assert (desk.ran, len(desk.model.calls), len(writes.created)) == before
    return error


@pytest.mark.parametrize("by", WAYS)
async def test_an_unknown_question(by: str, writes: Writes) -> None:
    async with asking(PAY) as desk:
        asked = await desk.turn("Pay Ada.", **beginning(by))
        error = await refused(desk, [answer(UNKNOWN)], 404, writes, **following(asked, by))

    assert error["param"] == PARAM


@pytest.mark.parametrize("by", [*WAYS, "transcript"])
async def test_a_question_of_somebody_else_is_as_unknown_as_one_that_never_was(by: str, writes: Writes) -> None:
    mallory = {"x-agent-user-id": "mallory"}

    async with asking(PAY, "Hi.") as desk:
        asked = await desk.turn("Pay Ada.", **beginning(by))
        (question,) = questions(asked)
        if by == "transcript":
            stolen = [question, answer(question)]
            crafted = [{**question, "id": UNKNOWN}, answer(UNKNOWN)]
            more: dict[str, Any] = {}
        else:
            own = (await desk.post("hi", headers=mallory, **beginning(by))).json()
            stolen, crafted, more = [answer(question)], [answer(UNKNOWN)], following(own, by)
        foreign = await refused(desk, stolen, 404, writes, headers=mallory, **more)
        unknown = await refused(desk, crafted, 404, writes, headers=mallory, **more)

    assert foreign["message"].replace(question["id"], UNKNOWN) == unknown["message"]
    own = {"message", "additionalInfo"}  # The id of the request is each request's own.
    assert {key: foreign[key] for key in foreign.keys() - own} == {key: unknown[key] for key in unknown.keys() - own}


async def test_a_question_of_another_conversation_or_chain(writes: Writes) -> None:
    async with asking(PAY, "Hi.", PAY_BOB) as desk:
        (question,) = questions(await desk.turn("Pay Ada."))
        other = await desk.turn("hi", conversation="conv_1")
        chain = await desk.turn("Pay Bob.")
        await refused(desk, [answer(question)], 404, writes, conversation="conv_1")
        await refused(desk, [answer(question)], 404, writes, previous_response_id=other["id"])
        await refused(desk, [answer(question)], 404, writes, previous_response_id=chain["id"])


async def test_an_answer_alone_finds_no_question(writes: Writes) -> None:
    async with asking(PAY) as desk:
        (question,) = questions(await desk.turn("Pay Ada."))
        await refused(desk, [answer(question)], 404, writes)


@pytest.mark.parametrize("by", WAYS)
async def test_an_answer_that_was_given_before(by: str, writes: Writes) -> None:
    async with asking(PAY, "Paid.") as desk:
        asked = await desk.turn("Pay Ada.", **beginning(by))
        given = [answer(questions(asked)[0])]
        paid = await desk.turn(given, **following(asked, by))
        status = 404 if by == "conversation" else 409
        await refused(desk, given, status, writes, **following(asked, by))
        await refused(desk, given, 404, writes, **following(paid, by))

    assert desk.ran == ["pay ada"]


async def test_an_answer_in_one_branch_uses_the_question_up_in_every_other(writes: Writes) -> None:
    async with asking(PAY, "As you like.", "Not then.") as desk:
        asked = await desk.turn("Pay Ada.")
        branch = await desk.turn("How are you?", previous_response_id=asked["id"])
        given = [answer(questions(asked)[0])]
        await desk.turn([answer(questions(asked)[0], approve=False)], previous_response_id=asked["id"])
        error = await refused(desk, given, 409, writes, previous_response_id=branch["id"])
        with pytest.raises(openai.ConflictError):
            await desk.turn(given, previous_response_id=branch["id"])

    assert desk.ran == []
    assert error["code"] == "conflict"


async def test_of_two_answers_at_once_one_counts() -> None:
    async with asking(PAY, "Paid.") as desk:
        asked = await desk.turn("Pay Ada.")
        given = [answer(questions(asked)[0])]
        replies = await asyncio.gather(*(desk.post(given, previous_response_id=asked["id"]) for _ in range(5)))

    assert sorted(reply.status for reply in replies) == [200, 409, 409, 409, 409]
    assert desk.ran == ["pay ada"]


async def test_a_question_answered_twice_in_one_request(writes: Writes) -> None:
    async with asking(PAY, "Paid.") as desk:
        asked = await desk.turn("Pay Ada.")
        (question,) = questions(asked)
        both = [answer(question), answer(question, approve=False)]
        error = await refused(desk, both, 400, writes, previous_response_id=asked["id"])
        assert error["param"] == "input[1].approval_request_id"
        await desk.turn([answer(question)], previous_response_id=asked["id"])

    assert desk.ran == ["pay ada"]


async def test_one_bad_answer_uses_none_of_the_others_up(writes: Writes) -> None:
    both = [call("c1", "pay", to="ada"), call("c2", "pay", to="bob")]

    async with asking(both, "Done.") as desk:
        asked = await desk.turn("Pay both.")
        first, second = questions(asked)
        await refused(desk, [answer(first), answer(UNKNOWN)], 404, writes, previous_response_id=asked["id"])
        await desk.turn([answer(first), answer(second)], previous_response_id=asked["id"])

    assert desk.ran == ["pay ada", "pay bob"]


async def test_a_question_that_has_expired(writes: Writes) -> None:
    async with asking(PAY, options=HostOptions(retention=0.0), stores=memory_stores()) as desk:
        asked = await desk.turn("Pay Ada.")
        error = await refused(desk, [answer(questions(asked)[0])], 400, writes, previous_response_id=asked["id"])

    assert "expired" in error["message"]


async def test_a_question_that_is_no_longer_kept(writes: Writes) -> None:
    now = 1_000.0
    state = MemoryStore(retention=60, clock=lambda: now)
    stores = Stores.over(state)

    async with asking(PAY, stores=stores) as desk:
        asked = await desk.turn("Pay Ada.")
        now += 61
        await refused(desk, [answer(questions(asked)[0])], 404, writes, previous_response_id=asked["id"])


async def test_a_question_that_is_asked_again_when_it_is_not_known_whether_it_was_answered(writes: Writes) -> None:
    stores = memory_stores()
    batch = [*PAY, *PAY_BOB]
    async with asking(batch, "Done.", stores=stores) as desk:
        asked = await desk.turn("Pay both.")
        first, second = questions(asked)
        local = Caller(Scope("local"))
        kept = await Approvals(stores.state).find(local, second["id"], lambda _: True, param=PARAM)
        await stores.state.delete(local, [Key(ANSWERED, kept.answer_key)])  # As where memory is short.
        again = await desk.turn([answer(first)], previous_response_id=asked["id"])
        (rest,) = questions(again)
        for one in (rest, second):
            await refused(desk, [answer(one)], 404, writes, previous_response_id=again["id"])

    assert desk.ran == []


@pytest.mark.parametrize("by", WAYS)
async def test_a_question_of_a_deleted_response(by: str, writes: Writes) -> None:
    async with asking(PAY, "As you like.") as desk:
        asked = await desk.turn("Pay Ada.", **beginning(by))
        other = await desk.turn("How are you?", **following(asked, by))
        await desk.api.responses.delete(asked["id"])
        await refused(desk, [answer(questions(asked)[0])], 404, writes, **following(other, by))
        question = questions(asked)[0]
        await refused(desk, [question, answer(question)], 404, writes)


async def test_a_tool_does_not_run_again_when_its_turn_failed_afterwards(writes: Writes) -> None:
    async with asking(PAY, RuntimeError("no"), "Hello.") as desk:
        asked = await desk.turn("Pay Ada.")
        given = [answer(questions(asked)[0])]
        failed = await desk.turn(given, previous_response_id=asked["id"])
        assert failed["status"] == "failed"
        for previous in (asked["id"], failed["id"]):
            await refused(desk, given, 409, writes, previous_response_id=previous)
        await desk.turn("hi", previous_response_id=asked["id"])

    assert desk.ran == ["pay ada"]


async def test_a_turn_that_never_began_gives_its_answers_back() -> None:
    async with asking(PAY, "Paid.") as desk:
        asked = await desk.turn("Pay Ada.")
        (question,) = questions(asked)
        user = {"role": "user", "content": "Pay Ada."}
        never: Reply = await desk.post([user, question, answer(question)], background=True, store=False)
        assert_refusal(never, 400)
        await desk.turn([answer(question)], previous_response_id=asked["id"])

    assert desk.ran == ["pay ada"]


async def test_questions_of_different_turns_of_a_transcript_are_answered_one_turn_at_a_time(writes: Writes) -> None:
    async with asking(PAY, PAY_BOB) as desk:
        (first,) = questions(await desk.turn("Pay Ada."))
        (second,) = questions(await desk.turn("Pay Bob."))
        given = [first, second, answer(first), answer(second)]
        error = await refused(desk, given, 400, writes)

    assert error["param"] == "input[2].approval_request_id"
    assert desk.ran == []
