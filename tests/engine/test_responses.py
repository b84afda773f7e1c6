"""The response store: told once, stored before it is told, apart by scope, and readable by the very next turn."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hostedagent.conversation.transcript import history_ids, orphans
from hostedagent.engine import responses
from hostedagent.engine.responses import ResponseStore
from hostedagent.errors import NotFound
from hostedagent.identity import Caller, Scope
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.stores.base import StoreConflict
from hostedagent.stores.journals import Journal, Journals
from hostedagent.stores.lease_settings import LeaseSettings
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.responses import StoredResponses
from hostedagent.stores.running import Running
from tests.emulator.wire import message, response

ADA, BOB = Caller(Scope("user:ada")), Caller(Scope("user:bob"))
CONVERSATION: dict[str, Any] = {"conversation": {"id": "conv_1"}}


@pytest.fixture
def store() -> ResponseStore:
    return ResponseStore(StoredResponses(MemoryStore()))


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statuses that were written over a stored response."""
    seen: list[str] = []
    update = StoredResponses.update

    async def watched(self: StoredResponses, caller: Caller, response: Any, *parts: Any, **more: Any) -> None:
        await update(self, caller, response, *parts, **more)
        seen.append(response["status"])

    monkeypatch.setattr(StoredResponses, "update", watched)
    return seen


def done(name: str, status: str = "completed", **more: Any) -> Any:
    return response(name, message(f"{name}-out"), status=status, **more)


async def begin(store: ResponseStore, name: str, **more: Any) -> None:
    await store.create(ADA, response(name, **more), [message(f"{name}-in")])


async def history(
    store: ResponseStore, name: str, *, caller: Caller = ADA, excluded: tuple[str, ...] = ()
) -> list[str]:
    assert await store.status(caller, name) not in ("queued", "in_progress"), "it is running"
    request = TurnRequest(input=(), previous_response_id=name)
    return list(await history_ids(store, caller, request, excluded))


async def test_a_committed_end_is_read_at_once_and_written_once(store: ResponseStore, updates: list[str]) -> None:
    await begin(store, "a")
    await store.commit(done("a"))

    assert await history(store, "a") == ["a-in", "a-out"]
    await store.update(ADA, done("a"))
    assert updates == ["completed"]


async def test_an_end_that_differs_from_the_committed_one_is_written(store: ResponseStore, updates: list[str]) -> None:
    await begin(store, "a")
    await store.commit(done("a"))
    await store.update(ADA, done("a", "failed"))

    assert updates == ["completed", "failed"]
    assert (await store.get(ADA, "a"))["status"] == "failed"


async def test_only_an_end_that_is_committed_needs_no_write(store: ResponseStore, updates: list[str]) -> None:
    await begin(store, "a")
    assert not store.settle_committed(done("a"))
    await store.commit(done("a"))
    assert not store.settle_committed(done("a", "failed"))

    assert store.active.input_ids("a") == ("a-in",)
    assert store.settle_committed(done("a"))
    assert not store.settle_committed(done("a")) and updates == ["completed"]
    assert store.active.input_ids("a") == ()


async def test_a_commit_keeps_what_the_response_was_created_with(store: ResponseStore) -> None:
    await begin(store, "a", metadata={"k": "v"}, **CONVERSATION)
    await store.commit({**done("a"), "conversation": None})

    kept = await store.get(ADA, "a")
    assert (kept["metadata"], kept["conversation"]) == ({"k": "v"}, {"id": "conv_1"})


async def test_a_turn_that_is_not_stored_commits_nothing(store: ResponseStore, updates: list[str]) -> None:
    await store.commit(done("a"))

    assert updates == []


async def test_a_running_response_cannot_be_continued_and_an_ended_one_can(store: ResponseStore) -> None:
    await begin(store, "a")
    with pytest.raises(AssertionError, match="running"):
        await history(store, "a")
    await store.update(ADA, done("a"))

    assert await history(store, "a") == ["a-in", "a-out"]


async def test_a_resumed_response_has_ended_when_the_earlier_process_stored_its_outcome(store: ResponseStore) -> None:
    await store.repository.create(ADA, done("a"), [message("a-in")], [])
    store.active.open("a").stored_before = ("a-in",)
    with pytest.raises(StoreConflict):
        await begin(store, "a")
    store.active.leave("a")  # Its run is over, and its last write has not begun.

    assert await store.status(ADA, "a") == "completed"


async def test_a_running_response_of_somebody_else_is_as_unknown_as_any(store: ResponseStore) -> None:
    await begin(store, "a")
    told: list[str] = []

    for name in ("a", "z"):
        with pytest.raises(NotFound) as error:
            await history(store, name, caller=BOB)
        told.append(str(error.value).replace(f"'{name}'", ""))

    assert told[0] == told[1]


async def test_a_response_belongs_to_whom_it_was_made_for(store: ResponseStore) -> None:
    await begin(store, "a")

    assert await store.owns(ADA, "a")
    assert not await store.owns(ADA, "z")
    assert not await store.owns(BOB, "a")


async def test_whose_a_response_is_is_known_without_being_remembered(
    store: ResponseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "MAX_OWNERS", 2)
    for name in ("a", "b", "c"):
        await begin(store, name)
        await store.update(ADA, done(name))

    assert [await store.owns(ADA, name) for name in ("a", "b", "c")] == [True] * 3
    assert [await store.owns(BOB, name) for name in ("a", "b", "c")] == [False] * 3


async def test_an_end_is_stored_for_its_owner_whoever_is_served_meanwhile(store: ResponseStore) -> None:
    await begin(store, "a")
    await store.commit(done("a"))
    await store.update(BOB, done("a"))

    assert (await store.get(ADA, "a"))["status"] == "completed"


async def test_the_input_of_a_turn_is_known_while_it_runs(store: ResponseStore) -> None:
    await begin(store, "a")
    assert store.active.input_ids("a") == ("a-in",)
    await store.update(ADA, done("a"))

    assert store.active.input_ids("a") == ()


async def test_what_failed_turns_left_is_kept_out_of_a_prompt(store: ResponseStore) -> None:
    await begin(store, "a")
    await store.update(ADA, done("a"))

    assert await history(store, "a", excluded=("a-out",)) == ["a-in"]


async def test_orphans_are_what_stands_behind_the_head_of_a_conversation(store: ResponseStore) -> None:
    for name in ("a", "b"):
        await begin(store, name, **CONVERSATION)
        await store.update(ADA, done(name, **CONVERSATION))

    assert await orphans(store, ADA, "conv_1", "a") == ("b-in", "b-out")
    assert await orphans(store, ADA, "conv_1", "b") == ()
    assert await orphans(store, ADA, "conv_1", None) == ("a-in", "a-out", "b-in", "b-out")


async def test_nothing_is_an_orphan_because_the_head_of_its_conversation_was_deleted(store: ResponseStore) -> None:
    for name in ("a", "b"):
        await begin(store, name, **CONVERSATION)
        await store.update(ADA, done(name, **CONVERSATION))
    await store.delete(ADA, "b")

    assert await orphans(store, ADA, "conv_1", "b") == ()


async def test_a_response_in_the_background_is_stored_only_when_its_mark_is() -> None:
    may_mark = asyncio.Event()

    class Slow(Running):
        async def begin(self, caller: Caller, response_id: str) -> None:
            await may_mark.wait()

    state = MemoryStore()
    store = ResponseStore(StoredResponses(state), running=Slow(state, LeaseSettings()))
    creating = asyncio.create_task(begin(store, "a", status="in_progress", background=True))
    for _ in range(100):
        await asyncio.sleep(0)

    assert not creating.done()
    may_mark.set()
    await creating


async def test_an_id_that_the_platform_chose_is_reserved_until_it_is_released(store: ResponseStore) -> None:
    assert store.claim("caresp_9")
    assert not store.claim("caresp_9")
    store.release_claim("caresp_9")
    assert store.claim("caresp_9")
    store.release_claim("caresp_9")
    await begin(store, "caresp_9")
    assert not store.claim("caresp_9")
    await store.update(ADA, done("caresp_9"))
    assert not store.claim("caresp_9")


async def test_a_response_that_was_forbidden_is_not_created(store: ResponseStore) -> None:
    assert await store.forbid(ADA, "caresp_1") and await store.forbid(ADA, "caresp_1")
    with pytest.raises(StoreConflict):
        await begin(store, "caresp_1")
    await begin(store, "caresp_2")

    assert await store.status(ADA, "caresp_1") is None
    assert not await store.forbid(ADA, "caresp_2") and await store.status(ADA, "caresp_2") == "in_progress"
    assert await store.forbid(BOB, "caresp_2")


@pytest.mark.parametrize("status", ["cancelled", "failed"])
async def test_a_response_that_completes_elsewhere_is_not_ended_in_another_way(status: str) -> None:
    kept = MemoryStore()
    owner, other = (ResponseStore(StoredResponses(kept)) for _ in range(2))
    await begin(owner, "a", background=True)
    read = await other.get(ADA, "a")
    await owner.commit(done("a", background=True))
    ended = await other.end(ADA, {**read, "status": status})

    assert ended["status"] == (await other.get(ADA, "a"))["status"] == "completed"
    assert await history(other, "a") == ["a-in", "a-out"]


@pytest.mark.parametrize("status", ["cancelled", "failed"])
@pytest.mark.parametrize("write", ["commit", "update"])
async def test_a_process_that_goes_on_does_not_change_the_end_of_a_turn_that_another_one_completed(
    write: str, status: str
) -> None:
    kept = MemoryStore()
    before = ResponseStore(StoredResponses(kept))
    await begin(before, "a", background=True)
    await StoredResponses(kept).update(ADA, done("a", background=True))
    ended: dict[str, Any] = {**done("a", status, background=True), "output": []}
    with pytest.raises(StoreConflict):
        await (before.commit(ended) if write == "commit" else before.update(ADA, ended))

    assert (await before.repository.get(ADA, "a"))["status"] == "completed"
    assert await history(before, "a") == ["a-in", "a-out"]


async def test_a_turn_that_ends_while_a_reader_looks_for_its_process_does_not_fail() -> None:
    state = MemoryStore()
    repository = StoredResponses(state)

    class Ending(Journals):
        """The turn ends, and then its journal is gone."""

        async def find(self, caller: Caller, response_id: str) -> Journal | None:
            await repository.update(caller, done(response_id))
            return None

    running = Running(state, LeaseSettings())
    reader = ResponseStore(repository, running=running, state=state, journals=Ending(state))
    await repository.create(ADA, response("caresp_1", status="in_progress", background=True), [])

    assert (await reader.get(ADA, "caresp_1"))["status"] == "completed"
    assert (await repository.get(ADA, "caresp_1"))["status"] == "completed"
