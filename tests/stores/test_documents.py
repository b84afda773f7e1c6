"""Responses as documents, in memory and in files: chains, branches, what is stepped over, what deletion erases."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from azure.ai.agentserver.responses.store import ResponseAlreadyExistsError

from hostedagent.identity import Scope
from hostedagent.stores.documents import DocumentResponses, Documents, MemoryDocuments, ScopedResponses
from hostedagent.stores.file_documents import FileDocuments
from tests.emulator.wire import message, response

ADA, BOB = Scope("user:ada"), Scope("user:bob")


@pytest.fixture(params=["memory", "file"])
async def documents(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Documents]:
    if request.param == "memory":
        yield MemoryDocuments()
        return
    files = FileDocuments(tmp_path / "responses")
    yield files
    await files.aclose()


@pytest.fixture
def store(documents: Documents) -> ScopedResponses:
    return DocumentResponses(documents)(ADA)


async def put(store: ScopedResponses, name: str, previous: str | None = None, status: str = "completed") -> None:
    """A response `name` with the input `name-in` and the output `name-out`, as a turn stores it."""
    more: dict[str, Any] = {"previous_response_id": previous} if previous else {}
    await store.create_response(response(name, **more), [message(f"{name}-in")], None)
    if status != "in_progress":
        await store.update_response(response(name, message(f"{name}-out"), **{**more, "status": status}))


def items(*names: str) -> list[str]:
    return [f"{name}-{side}" for name in names for side in ("in", "out")]


async def chain(store: ScopedResponses, name: str, limit: int = -1) -> list[str]:
    return await store.get_history_item_ids(name, None, limit)


async def test_a_chain_is_the_input_and_output_of_every_turn_oldest_first(store: ScopedResponses) -> None:
    await put(store, "a")
    await put(store, "b", "a")
    await put(store, "c", "b")

    assert await chain(store, "c") == items("a", "b", "c")


async def test_branches_share_what_is_before_them_and_nothing_else(store: ScopedResponses) -> None:
    await put(store, "a")
    await put(store, "b", "a")
    await put(store, "c", "a")

    assert await chain(store, "b") == items("a", "b")
    assert await chain(store, "c") == items("a", "c")


@pytest.mark.parametrize("status", ["failed", "cancelled", "in_progress"])
async def test_a_turn_that_does_not_count_is_stepped_over(store: ScopedResponses, status: str) -> None:
    await put(store, "a")
    await put(store, "b", "a", status)
    await put(store, "c", "b")

    assert await chain(store, "b") == items("a")
    assert await chain(store, "c") == items("a", "c")


async def test_an_incomplete_turn_counts(store: ScopedResponses) -> None:
    await put(store, "a", status="incomplete")

    assert await chain(store, "a") == items("a")


async def test_a_chain_survives_the_process(documents: Documents) -> None:
    before = DocumentResponses(documents)(ADA)
    await put(before, "a")
    await put(before, "b", "a", "failed")
    await put(before, "c", "b")

    assert await chain(DocumentResponses(documents)(ADA), "c") == items("a", "c")


async def test_a_conversation_is_its_turns_in_the_order_they_were_made(store: ScopedResponses) -> None:
    for name, status in (("a", "completed"), ("b", "failed"), ("c", "completed")):
        more: dict[str, Any] = {"conversation": {"id": "conv_1"}}
        await store.create_response(response(name, **more), [message(f"{name}-in")], None)
        await store.update_response(response(name, message(f"{name}-out"), **{**more, "status": status}))

    assert await store.get_history_item_ids(None, "conv_1", -1) == items("a", "c")
    assert await store.get_history_item_ids(None, "conv_2", -1) == []


async def test_a_limit_keeps_the_newest(store: ScopedResponses) -> None:
    await put(store, "a")
    await put(store, "b", "a")

    assert await chain(store, "b", limit=3) == ["a-out", "b-in", "b-out"]


async def test_deletion_erases_the_items_too_and_keeps_the_chain(store: ScopedResponses) -> None:
    await put(store, "a")
    await put(store, "b", "a")
    await put(store, "c", "b")
    await store.delete_response("b")

    assert await store.get_items(items("b")) == [None, None]
    assert await chain(store, "c") == items("a", "c")
    with pytest.raises(KeyError):
        await store.get_response("b")
    with pytest.raises(KeyError):
        await store.delete_response("b")


async def test_a_deleted_response_cannot_be_written_again(store: ScopedResponses) -> None:
    await put(store, "a")
    await store.delete_response("a")

    with pytest.raises(KeyError):
        await store.update_response(response("a", message("a-late")))
    with pytest.raises(ResponseAlreadyExistsError):
        await store.create_response(response("a"), [], None)
    assert await store.get_items(["a-late"]) == [None]


async def test_a_response_is_created_once(store: ScopedResponses) -> None:
    await put(store, "a")

    with pytest.raises(ResponseAlreadyExistsError):
        await store.create_response(response("a"), [message("other")], None)
    assert await store.get_items(["other"]) == [None]


async def test_a_response_reads_as_it_was_written(store: ScopedResponses) -> None:
    written = response("a", message("a-out"), status="completed", metadata={"k": "v"})
    await store.create_response(written, [message("a-in")], None)

    assert await store.get_response("a") == written


async def test_a_page_of_input_items_begins_where_the_caller_says(store: ScopedResponses) -> None:
    await put(store, "a")
    await put(store, "b", "a")

    async def page(**paging: Any) -> list[str]:
        return [item["id"] for item in await store.get_input_items("b", **paging)]

    assert await page(ascending=True) == ["a-in", "a-out", "b-in"]
    assert await page() == ["b-in", "a-out", "a-in"]
    assert await page(limit=1) == ["b-in"]
    assert await page(after="b-in") == ["a-out", "a-in"]
    assert await page(ascending=True, before="b-in") == ["a-in", "a-out"]


async def test_scopes_share_nothing(documents: Documents) -> None:
    providers = DocumentResponses(documents)
    await put(providers(ADA), "a")
    bob = providers(BOB)

    assert await chain(bob, "a") == []
    assert await bob.get_items(items("a")) == [None, None]
    for call in (bob.get_response, bob.delete_response, bob.get_input_items):
        with pytest.raises(KeyError):
            await call("a")
    await put(bob, "a")
    await bob.delete_response("a")
    assert await chain(providers(ADA), "a") == items("a")


async def test_memory_is_bounded_and_what_was_not_touched_goes_first() -> None:
    documents = MemoryDocuments(max_bytes=300)
    await documents.write({"a": b"x" * 100, "b": b"x" * 100, "c": b"x" * 100})
    await documents.read(["a"])
    await documents.write({"d": b"x" * 100})

    assert [row is not None for row in await documents.read(["a", "b", "c", "d"])] == [True, False, True, True]


async def test_a_document_written_anew_counts_once() -> None:
    documents = MemoryDocuments(max_bytes=300)
    await documents.write({"a": b"x" * 100})
    for _ in range(10):
        await documents.write({"b": b"x" * 100})

    assert None not in await documents.read(["a", "b"])
