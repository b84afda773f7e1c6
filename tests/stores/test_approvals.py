"""Approvals: found by the id on the wire, used up once by the id that Agent Framework waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import pytest
from msgspec.structs import replace

from hostedagent.errors import Conflict, InvalidRequest, NotFound
from hostedagent.identity import Caller, Scope
from hostedagent.stores.approvals import ANSWERED, ASKED, AnswerAttempt, Approval, ApprovalDecision, Approvals
from hostedagent.stores.base import Etag, Key, Write
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.values import write_value

ADA, BOB = Caller(Scope("user:ada")), Caller(Scope("user:bob"))
PARAM = "input[0].approval_request_id"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def question(item_id: str = "mcpr_1", request_id: str = "c1", expires_at: float = 1_060.0) -> Approval:
    return Approval(
        request_id,
        request_id,
        "pay",
        '{"to": "ada"}',
        item_id=item_id,
        response_id="resp_1",
        conversation_id=None,
        expires_at=expires_at,
    )


def answer(approval: Approval, approved: bool = True) -> ApprovalDecision:
    return ApprovalDecision(approval, approved, None, PARAM)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def approvals(clock: Clock) -> Approvals:
    return Approvals(MemoryStore(), ttl=60.0, clock=clock)


async def find(approvals: Approvals, item_id: str = "mcpr_1", caller: Caller = ADA, belongs: bool = True) -> Approval:
    return await approvals.find(caller, item_id, lambda approval: belongs, param=PARAM)


async def test_a_question_is_found_as_it_was_asked(approvals: Approvals) -> None:
    await approvals.record(ADA, question())

    assert await find(approvals) == replace(question(), is_marked=True)
    assert await approvals.is_open(ADA, "mcpr_1")


async def test_what_must_not_be_found_is_told_alike(approvals: Approvals) -> None:
    await approvals.record(ADA, question())
    told: list[str] = []
    for item_id, scope, belongs in (("mcpr_9", ADA, True), ("mcpr_1", BOB, True), ("mcpr_1", ADA, False)):
        with pytest.raises(NotFound) as error:
            await find(approvals, item_id, scope, belongs)
        assert error.value.param == PARAM
        told.append(str(error.value).replace(item_id, ""))

    assert len(set(told)) == 1
    assert not await approvals.is_open(BOB, "mcpr_1")


async def test_a_question_expires(approvals: Approvals, clock: Clock) -> None:
    await approvals.record(ADA, question(expires_at=approvals.expires_at()))
    clock.now += 59
    await find(approvals)
    clock.now += 1

    with pytest.raises(InvalidRequest, match="expired"):
        await find(approvals)
    assert not await approvals.is_open(ADA, "mcpr_1")


async def test_of_many_that_use_an_answer_up_at_once_one_does(approvals: Approvals) -> None:
    tries = [approvals.consume(ADA, [answer(question())]) for _ in range(10)]

    ends = await asyncio.gather(*tries, return_exceptions=True)

    assert sum(end is None for end in ends) == 1
    assert sum(isinstance(end, Conflict) for end in ends) == 9


async def test_an_answer_that_is_given_back_at_the_same_moment_is_not_one_before() -> None:
    class Late(MemoryStore):
        """A store in which the earlier try gives the question back just before the later one writes."""

        undo: Callable[[], Awaitable[None]] | None = None

        async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
            undo, self.undo = self.undo, None
            if undo is not None:
                await undo()
            return await super().write(caller, writes)

    store = Late()
    approvals, first = Approvals(store), AnswerAttempt("one", "resp_2")
    await approvals.record(ADA, asked := question(expires_at=1e12))
    await approvals.consume(ADA, [answer(asked)], first)
    store.undo = partial(approvals.restore, ADA, [answer(asked)], first.token)

    async def has_left(before: AnswerAttempt) -> bool:
        return before == first

    await approvals.consume(ADA, [answer(asked)], AnswerAttempt("two", "resp_3"), has_left)
    with pytest.raises(Conflict, match="answered before"):
        await approvals.consume(ADA, [answer(asked)], first)


async def test_a_question_under_a_new_id_is_the_same_question(approvals: Approvals) -> None:
    again = replace(question(), item_id="mcpr_2")
    await approvals.record(ADA, question())
    await approvals.record(ADA, again)
    await approvals.consume(ADA, [answer(again)])

    assert not await approvals.is_open(ADA, "mcpr_1")
    with pytest.raises(Conflict):
        await approvals.consume(ADA, [answer(question())])


async def test_answers_are_used_up_all_or_none(approvals: Approvals) -> None:
    first, second = answer(question()), answer(question("mcpr_2", "c2"))
    await approvals.consume(ADA, [second])

    with pytest.raises(Conflict):
        await approvals.consume(ADA, [first, second])
    await approvals.consume(ADA, [first])


async def test_the_same_request_of_another_user_is_another(approvals: Approvals) -> None:
    await approvals.consume(ADA, [answer(question())])
    await approvals.consume(BOB, [answer(question())])


async def test_a_question_is_gone_with_its_mark_so_that_no_call_runs_twice() -> None:
    store = MemoryStore(max_bytes=5_000)
    approvals = Approvals(store, ttl=60.0, clock=lambda: 1_000.0)
    await approvals.record(ADA, question())
    await approvals.consume(ADA, [answer(question())])
    for n in range(100):  # Only the question is still read, so the mark is the oldest when memory is short.
        await store.read(ADA, [Key(ASKED, "mcpr_1")])
        await store.write(ADA, [Write(Key("other", f"{n}"), b"x" * 100)])

    assert await store.read(ADA, [Key(ANSWERED, "c1")]) == [None]
    with pytest.raises(NotFound):
        await find(approvals)
    assert not await approvals.is_open(ADA, "mcpr_1")


async def test_a_question_that_is_asked_again_is_not_open_if_its_mark_is_gone() -> None:
    store = MemoryStore()
    approvals = Approvals(store, ttl=60.0, clock=lambda: 1_000.0)
    await approvals.record(ADA, question())
    await approvals.consume(ADA, [answer(question())])
    await store.delete(ADA, [Key(ANSWERED, "c1")])  # As where memory is short.
    await approvals.record(ADA, question("mcpr_2"), is_repeated=True)

    assert not await approvals.is_open(ADA, "mcpr_2")
    with pytest.raises(NotFound):
        await find(approvals, "mcpr_2")


async def test_a_mark_lives_as_long_as_the_question_that_was_asked_last() -> None:
    now = 1_000.0
    store = MemoryStore(retention=60.0, clock=lambda: now)
    approvals = Approvals(store, ttl=60.0, clock=lambda: now)
    await approvals.record(ADA, question(expires_at=2_000.0))
    await approvals.consume(ADA, [answer(question())])
    now += 50
    await approvals.record(ADA, question("mcpr_2", expires_at=2_000.0), is_repeated=True)
    now += 50

    again = await find(approvals, "mcpr_2")
    assert not await approvals.is_open(ADA, "mcpr_2")
    with pytest.raises(Conflict):
        await approvals.consume(ADA, [answer(again)])


async def test_a_question_of_version_0_1_had_no_mark_before_its_answer() -> None:
    store = MemoryStore()
    approvals = Approvals(store, ttl=60.0, clock=lambda: 1_000.0)
    value: dict[str, object] = {
        "item_id": "mcpr_1",
        "request_id": "c1",
        "call_id": "c1",
        "name": "pay",
        "arguments": "{}",
        "hosted": False,
        "response_id": "resp_1",
        "conversation_id": None,
        "expires_at": 1_060.0,
    }
    await write_value(store, ADA, Key(ASKED, "mcpr_1"), value)

    found = await find(approvals)
    assert await approvals.is_open(ADA, "mcpr_1")
    await approvals.consume(ADA, [answer(found)])
    with pytest.raises(Conflict):
        await approvals.consume(ADA, [answer(found)])


async def test_what_was_given_back_may_be_used_again(approvals: Approvals) -> None:
    await approvals.consume(ADA, [answer(question())])
    await approvals.restore(ADA, [answer(question())])
    await approvals.consume(ADA, [answer(question())])


async def test_a_try_gives_back_only_what_it_used_itself(approvals: Approvals) -> None:
    first, second = AnswerAttempt("one", "resp_2"), AnswerAttempt("two", "resp_2")
    given = [answer(question())]

    async def is_same(before: AnswerAttempt) -> bool:
        return before.response_id == "resp_2"

    await approvals.consume(ADA, given, first, is_same)
    await approvals.consume(ADA, given, second, is_same)  # The turn is begun again, in another process.
    await approvals.restore(ADA, given, first.token)
    with pytest.raises(Conflict, match="answered before"):
        await approvals.consume(ADA, given)
    await approvals.restore(ADA, given, second.token)
    await approvals.consume(ADA, given)


async def test_what_is_forgotten_cannot_be_answered_and_what_was_answered_stays_used(approvals: Approvals) -> None:
    await approvals.record(ADA, question())
    await approvals.consume(ADA, [answer(question())])
    await approvals.forget(ADA, ["mcpr_1", "mcpr_9"])

    with pytest.raises(NotFound):
        await find(approvals)
    with pytest.raises(Conflict):
        await approvals.consume(ADA, [answer(question())])
