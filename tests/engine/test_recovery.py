"""The recorded progress of a background turn: in order, released at the end, and no reason to fail the turn."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from hostedagent.agents.usage import UsageCount
from hostedagent.engine.recovery import Recovery, open_response
from hostedagent.engine.responses import ResponseStore
from hostedagent.engine.sent_events import LoggedSentEvents, Sent
from hostedagent.errors import Conflict
from hostedagent.identity import Caller, IsolationKeys, Scope
from hostedagent.outcomes import Cancelled, Completed, Failed, Incomplete, Outcome
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.stores.base import Key, StoreConflict, StoreUnavailable, Write
from hostedagent.stores.checkpoints import PART, Checkpoint, WorkflowState
from hostedagent.stores.journals import FORGET_SECONDS, JOURNAL, Ended, Journal, Journals
from hostedagent.stores.local import LocalEventLog
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.responses import StoredResponses
from hostedagent.stores.sessions import Sessions, Snapshot
from hostedagent.stores.tokens import Place
from tests.emulator.wire import message, response
from tests.virtual_time import virtual_time

ADA = Caller(Scope("user:ada"))
R = "caresp_1"
USAGE = UsageCount()
NOTHING: dict[str, Any] = {"id": R, "status": "in_progress", "output": []}


class Store(MemoryStore):
    """A store that can go away, and knows what was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.written: list[str] = []

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[str]:
        if self.is_away:
            raise StoreUnavailable("away")
        self.written += [write.key.kind for write in writes]
        return await super().write(caller, writes)

    async def delete(self, caller: Caller, keys: Sequence[Key], *, expect: str | None = None) -> None:
        if self.is_away:
            raise StoreUnavailable("away")
        await super().delete(caller, keys, expect=expect)


class Elsewhere(Journals):
    """The journals of a process whose turn another one has taken."""

    async def holds(self, caller: Caller, response_id: str) -> bool:
        return False

    async def write_end(self, caller: Caller, response_id: str, journal: Journal) -> None:
        raise StoreConflict("taken")


@pytest.fixture
def store() -> Store:
    return Store()


def recovery(store: Store, **fields: Any) -> Recovery:
    journals = fields.pop("journals", None) or Journals(store)
    responses = ResponseStore(StoredResponses(store))
    journal = Journal(ADA.scope, IsolationKeys("ada"))
    given: dict[str, Any] = {"journal": journal, **fields}
    return Recovery(journals, responses, Sessions(store), LoggedSentEvents(LocalEventLog()), ADA, R, **given)


async def running(turn: Recovery) -> None:
    await turn.store.create(ADA, response(R, status="in_progress", background=True), [message("in")])


async def kept(turn: Recovery) -> Journal | None:
    return await turn.journals.find(ADA, R)


def large(seed: int) -> bytes:
    """A checkpoint that does not fit into one record."""
    return random.Random(seed).randbytes(400_000)


async def loads(turn: Recovery, checkpoint: Checkpoint) -> bytes | None:
    return await turn.sessions.checkpoints.load(ADA, checkpoint)


async def test_a_checkpoint_is_stored_with_what_was_said_and_the_one_before_it_is_kept(store: Store) -> None:
    turn = recovery(store)
    await running(turn)
    so_far = {**NOTHING, "output": [message("one"), None, message("two")]}
    saved: list[Checkpoint] = []
    for seed in range(3):
        await turn.checkpointed(large(seed), {}, so_far, USAGE)
        found = await kept(turn)
        assert found is not None and found.checkpoint is not None
        saved.append(found.checkpoint.checkpoint)
        assert found.said == ("one", "two")
        assert await loads(turn, saved[-1]) == large(seed)
        if seed:
            assert await loads(turn, saved[-2]) == large(seed - 1)

    assert [place.response_id for place in saved] == [f"{R}:0", f"{R}:1", f"{R}:0"]
    stored = await turn.store.get(ADA, R)
    assert [item["id"] for item in stored["output"]] == ["one", "two"]


async def test_what_clients_have_not_read_is_not_stored(store: Store) -> None:
    order: list[str] = []

    async def tell() -> None:
        order.append("told")
        assert not set(store.written) & {PART, JOURNAL}

    turn = recovery(store, tell=tell)
    await running(turn)
    before = list(store.written)
    await turn.reached(NOTHING, USAGE)
    await turn.checkpointed(large(1), {}, NOTHING, USAGE)
    store.written.clear()
    await turn.run_ended(NOTHING, Snapshot())
    assert order == ["told"] * 3
    assert before and JOURNAL in store.written


async def test_a_turn_goes_on_where_its_progress_cannot_be_stored(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    turn = recovery(store)
    await running(turn)
    store.is_away = True

    await turn.reached(NOTHING, USAGE)
    await turn.checkpointed(b"state", {}, NOTHING, USAGE)
    await turn.run_ended({**NOTHING, "status": "completed"}, Snapshot())
    await turn.over()

    texts = [row.getMessage() for row in caplog.records]
    assert [sum(word in text for text in texts) for word in ("has come", "ended failed", "is over failed")] == [2, 1, 1]
    turn.journals.close()


async def test_a_turn_that_another_process_has_stores_nothing(store: Store) -> None:
    turn = recovery(store, journals=Elsewhere(store))
    await running(turn)
    store.written.clear()

    assert not turn.is_lost
    await turn.reached(NOTHING, USAGE)
    await turn.checkpointed(large(1), {}, NOTHING, USAGE)
    assert (turn.is_lost, store.written) == (True, [])


async def test_an_end_that_another_process_has_stored_is_final(store: Store) -> None:
    turn = recovery(store, journals=Elsewhere(store))
    with pytest.raises(Conflict, match="Another process"):
        await turn.run_ended({**NOTHING, "status": "completed"}, Snapshot())
    assert turn.is_lost


async def test_a_turn_without_a_journal_keeps_none(store: Store) -> None:
    turn = recovery(store, journal=None)
    await turn.checkpointed(large(1), {}, NOTHING, USAGE)
    await turn.run_ended(NOTHING, Snapshot())
    await turn.over()
    assert store.written == [] and not turn.is_over and turn.ended is None
    assert not await turn.is_elsewhere()


@virtual_time
async def test_the_end_of_a_turn_releases_what_it_had_stored() -> None:
    store = Store()
    turn = recovery(store, response=dict(NOTHING))
    await running(turn)
    await turn.sessions.tokens.save(ADA, R, Place({"id": "work"}))
    for seed in range(3):
        await turn.checkpointed(large(seed), {}, NOTHING, USAGE)
    await turn.run_ended({**NOTHING, "status": "completed", "error": None}, Snapshot())
    ended = await kept(turn)
    assert ended is not None and ended.ended is not None and "error" not in ended.ended.response

    await turn.over()

    over = await kept(turn)
    assert over is not None and over.is_over
    assert (over.checkpoint, over.said, over.ended) == (None, (), None)
    assert await turn.sessions.tokens.load(ADA, R) is None
    assert [await loads(turn, Checkpoint(f"{R}:{n}", parts=1)) for n in (0, 1)] == [None, None]
    await asyncio.sleep(FORGET_SECONDS - 1)
    assert await kept(turn) is not None
    await asyncio.sleep(2)
    assert await kept(turn) is None


async def test_a_resumed_turn_deletes_the_checkpoint_of_the_process_before_it(store: Store) -> None:
    left = await Sessions(store).checkpoints.save(ADA, f"{R}:1", large(1))
    journal = Journal(ADA.scope, IsolationKeys("ada"), checkpoint=WorkflowState(left))
    turn = recovery(store, journal=journal, response=dict(NOTHING))
    await turn.over()
    assert left.parts and await loads(turn, left) is None
    turn.journals.close()


@virtual_time
async def test_a_journal_outlives_a_shutdown() -> None:
    turn = recovery(Store())
    await turn.over()
    turn.journals.close()
    await asyncio.sleep(2 * FORGET_SECONDS)
    assert await kept(turn) is not None


ENDS: list[tuple[dict[str, Any], Outcome]] = [
    ({"status": "completed"}, Completed()),
    ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, Incomplete("max_output_tokens")),
    ({"status": "failed", "error": {"message": "No."}}, Failed("server_error", "No.")),
    ({"status": "cancelled"}, Cancelled("client")),
]


@pytest.mark.parametrize(("end", "outcome"), ENDS, ids=[end["status"] for end, _ in ENDS])
async def test_a_run_that_had_ended_ends_again_as_it_did(store: Store, end: dict[str, Any], outcome: Outcome) -> None:
    turn = recovery(store, response={**NOTHING, **end})
    assert turn.ended is not None and turn.outcome() == outcome
    assert turn.repeats(outcome) == turn.ended
    others = [other for _, other in ENDS if other != outcome]
    assert [turn.repeats(other) for other in others] == [None] * 3


async def test_a_turn_that_was_over_without_an_outcome_was_stopped(store: Store) -> None:
    journal = Journal(ADA.scope, IsolationKeys(), is_over=True)
    assert recovery(store, journal=journal, response=dict(NOTHING)).outcome() == Cancelled("client")
    assert recovery(store, response=dict(NOTHING)).ended is None
    recorded = Ended({"status": "completed"}, Snapshot(approvals=("a",)))
    assert recovery(store, journal=replace(journal, ended=recorded), response=dict(NOTHING)).ended == recorded


def test_a_resumed_response_begins_with_what_was_stored_of_it(store: Store) -> None:
    request = TurnRequest(input=(), response_id=R)
    before = recovery(store, response={**NOTHING, "output": [message("one")]})
    assert [item["id"] for item in open_response(request, before).response["output"]] == ["one"]
    assert open_response(request, recovery(store)).response["output"] == []
    assert open_response(request, None).response["output"] == []


@pytest.mark.parametrize(("last", "unsent"), [(-1, []), (0, ["added", "done"])])
def test_a_stream_that_had_only_begun_is_sent_what_its_run_had_said(store: Store, last: int, unsent: list[str]) -> None:
    said = {**NOTHING, "status": "completed", "output": [message("one")]}
    turn = recovery(store)
    turn.resume(said, Sent(last=last))
    assert [row["type"].rpartition(".")[2] for row in turn.unsent] == unsent
