# ruff: noqa: D102 (the names of the tests are their sentences)
"""The contract of a `ResponseRepository` as a test suite: subclass it, provide your repository, and run pytest.

Override the fixture `repository`; and `other`, a second repository over the same data as another process would have
one, or the tests that need it are skipped.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from hostedagent.identity import Caller, Scope
from hostedagent.protocol.types import Item
from hostedagent.stores.base import Page, ResponseRepository, StoreConflict, StoreNotFound

ADA: Final = Caller(Scope("user:ada"))
BOB: Final = Caller(Scope("user:bob"))


def message(item_id: str, text: str = "Hello.") -> Item:
    """A message of the user as an item."""
    return {"id": item_id, "type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def response(response_id: str, *output: Item, status: str = "in_progress", **more: Any) -> dict[str, Any]:
    """A response object with all fields that services ask for."""
    return {
        "id": response_id,
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "model": "model",
        "output": list(output),
        **more,
    }


def items_of(*names: str) -> list[str]:
    """The ids of the items of turns that `put` stored."""
    return [f"{name}-{side}" for name in names for side in ("in", "out")]


async def put(
    repository: ResponseRepository,
    name: str,
    previous: str | None = None,
    *,
    caller: Caller = ADA,
    status: str = "completed",
    **more: Any,
) -> None:
    """Store the response `name` with the input `name-in` and the output `name-out`, as a turn does."""
    if previous:
        more["previous_response_id"] = previous
    history = await repository.history_ids(caller, previous, None, -1) if previous else []
    await repository.create(caller, response(name, **more), [message(f"{name}-in")], history)
    if status != "in_progress":
        await repository.update(caller, response(name, message(f"{name}-out"), status=status, **more))


async def chain(repository: ResponseRepository, name: str, *, limit: int = -1, caller: Caller = ADA) -> list[str]:
    """The history of the turn that continues a response."""
    return await repository.history_ids(caller, name, None, limit)


class ResponseRepositoryContract:
    """The guarantees of every `ResponseRepository`. Subclass it with a fixture `repository`; see the module."""

    pytestmark = pytest.mark.asyncio

    many = 300
    """Turns of a long conversation; override it with fewer for a slow store."""

    @pytest.fixture
    def repository(self) -> ResponseRepository:
        """The repository under test, empty."""
        raise NotImplementedError("Override the fixture `repository`.")

    @pytest.fixture
    def other(self) -> ResponseRepository | None:
        """A second object over the same data; `None` skips the tests that need it."""
        return None

    async def test_a_response_reads_as_it_was_written(self, repository: ResponseRepository) -> None:
        written = response("a", message("a-out"), status="completed", metadata={"k": "v"})
        await repository.create(ADA, written, [message("a-in")])
        found = await repository.get(ADA, "a")
        assert {name: found[name] for name in written} == written

    async def test_an_update_replaces_the_response_and_its_output(self, repository: ResponseRepository) -> None:
        await repository.create(ADA, response("a"), [message("a-in")])
        await repository.update(ADA, response("a", message("draft"), message("kept", "old")))
        await repository.update(ADA, response("a", message("kept", "new"), status="completed"))
        found = await repository.get(ADA, "a")
        assert (found["status"], found["output"]) == ("completed", [message("kept", "new")])
        assert await repository.items(ADA, ["draft", "kept"]) == [None, message("kept", "new")]

    async def test_a_response_is_created_once(self, repository: ResponseRepository) -> None:
        await put(repository, "a")
        with pytest.raises(StoreConflict):
            await repository.create(ADA, response("a"), [message("other")])
        assert await repository.items(ADA, ["other"]) == [None]

    async def test_a_failed_response_is_never_completed(self, repository: ResponseRepository) -> None:
        await put(repository, "a", status="failed")
        with pytest.raises(StoreConflict):
            await repository.update(ADA, response("a", message("late"), status="completed"))
        assert (await repository.get(ADA, "a"))["status"] == "failed"
        assert await repository.items(ADA, ["late"]) == [None]
        await repository.update(ADA, response("a", message("a-out"), status="failed"))

    async def test_a_response_that_has_ended_does_not_run_again(self, repository: ResponseRepository) -> None:
        await put(repository, "a")
        with pytest.raises(StoreConflict):
            await repository.update(ADA, response("a", message("late")))
        assert (await repository.get(ADA, "a"))["status"] == "completed"

    async def test_what_does_not_exist_is_not_found(self, repository: ResponseRepository) -> None:
        for call in (
            repository.get(ADA, "a"),
            repository.delete(ADA, "a"),
            repository.input_items(ADA, "a"),
            repository.update(ADA, response("a")),
        ):
            with pytest.raises(StoreNotFound):
                await call
        assert await repository.items(ADA, ["a-in"]) == [None]
        assert await chain(repository, "a") == []

    async def test_a_chain_is_the_input_and_output_of_every_turn_oldest_first(
        self, repository: ResponseRepository
    ) -> None:
        await put(repository, "a")
        await put(repository, "b", "a")
        await put(repository, "c", "b")
        assert await chain(repository, "c") == items_of("a", "b", "c")
        assert await chain(repository, "c", limit=3) == ["b-out", "c-in", "c-out"]

    async def test_branches_share_what_precedes_them_and_nothing_else(self, repository: ResponseRepository) -> None:
        await put(repository, "a")
        await put(repository, "b", "a")
        await put(repository, "c", "a")
        assert await chain(repository, "b") == items_of("a", "b")
        assert await chain(repository, "c") == items_of("a", "c")

    @pytest.mark.parametrize("status", ["failed", "cancelled", "in_progress"])
    async def test_a_turn_that_does_not_count_is_skipped(self, repository: ResponseRepository, status: str) -> None:
        await put(repository, "a")
        await put(repository, "b", "a", status=status)
        await put(repository, "c", "b")
        assert await chain(repository, "b") == items_of("a")
        assert await chain(repository, "c") == items_of("a", "c")

    async def test_an_incomplete_turn_counts(self, repository: ResponseRepository) -> None:
        await put(repository, "a", status="incomplete")
        assert await chain(repository, "a") == items_of("a")

    async def test_another_process_reads_the_same_chain(
        self, repository: ResponseRepository, other: ResponseRepository | None
    ) -> None:
        if other is None:
            pytest.skip("no second repository over the same data")
        await put(repository, "a")
        await put(repository, "b", "a", status="failed")
        await put(repository, "c", "b")
        assert await chain(other, "c") == items_of("a", "c")

    async def test_a_conversation_is_its_turns_in_order(self, repository: ResponseRepository) -> None:
        conversation: dict[str, Any] = {"conversation": {"id": "conv_1"}}
        for name, status in (("a", "completed"), ("b", "failed"), ("c", "completed")):
            await put(repository, name, status=status, **conversation)
        assert await repository.history_ids(ADA, None, "conv_1", -1) == items_of("a", "c")
        assert await repository.history_ids(ADA, None, "conv_1", 1) == ["c-out"]
        assert await repository.history_ids(ADA, None, "conv_2", -1) == []

    async def test_a_long_conversation_keeps_its_order(self, repository: ResponseRepository) -> None:
        conversation: dict[str, Any] = {"conversation": {"id": "conv_1"}}
        names = [f"r{n:03}" for n in range(self.many)]
        for name in names:
            await repository.create(ADA, response(name, status="completed", **conversation), [message(f"{name}-in")])
        assert await repository.history_ids(ADA, None, "conv_1", -1) == [f"{name}-in" for name in names]

    async def test_deletion_erases_the_items_too_and_keeps_the_chain(self, repository: ResponseRepository) -> None:
        await put(repository, "a")
        await put(repository, "b", "a")
        await put(repository, "c", "b")
        await repository.delete(ADA, "b")
        assert await repository.items(ADA, items_of("b")) == [None, None]
        assert await chain(repository, "c") == items_of("a", "c")
        for call in (repository.get(ADA, "b"), repository.delete(ADA, "b"), repository.input_items(ADA, "b")):
            with pytest.raises(StoreNotFound):
                await call

    async def test_a_deleted_response_cannot_be_written_again(self, repository: ResponseRepository) -> None:
        await put(repository, "a")
        await repository.delete(ADA, "a")
        with pytest.raises(StoreNotFound):
            await repository.update(ADA, response("a", message("late"), status="completed"))
        with pytest.raises(StoreConflict):
            await repository.create(ADA, response("a"), [])
        assert await repository.items(ADA, ["late"]) == [None]

    async def test_a_page_of_input_items_begins_where_the_caller_asks(self, repository: ResponseRepository) -> None:
        await put(repository, "a")
        await put(repository, "b", "a")

        async def page(**paging: Any) -> list[str]:
            return [str(item["id"]) for item in await repository.input_items(ADA, "b", Page(**paging))]

        assert await page(ascending=True) == ["a-in", "a-out", "b-in"]
        assert await page() == ["b-in", "a-out", "a-in"]
        assert await page(limit=1) == ["b-in"]
        assert await page(after="b-in") == ["a-out", "a-in"]
        assert await page(ascending=True, before="b-in") == ["a-in", "a-out"]

    async def test_callers_share_nothing(self, repository: ResponseRepository) -> None:
        await put(repository, "a")
        assert await chain(repository, "a", caller=BOB) == []
        assert await repository.items(BOB, items_of("a")) == [None, None]
        for call in (repository.get(BOB, "a"), repository.delete(BOB, "a"), repository.input_items(BOB, "a")):
            with pytest.raises(StoreNotFound):
                await call
        await put(repository, "a", caller=BOB)
        await repository.delete(BOB, "a")
        assert await chain(repository, "a") == items_of("a")
