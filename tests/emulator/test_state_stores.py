from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from azure.ai.agentserver.core import FoundryAgentRequestContext, reset_request_context, set_request_context
from azure.ai.agentserver.core.storage import (
    FoundryStateStore,
    FoundryStorageBadRequestError,
    FoundryStorageConflictError,
    FoundryStorageNotFoundError,
    FoundryStoragePreconditionError,
    StateStore,
)

from hostedagent.emulator import Emulator, call_id_for
from hostedagent.testing.plugin import StartEmulator


@pytest.fixture
async def store(emulator: Emulator) -> AsyncIterator[FoundryStateStore]:
    made = await FoundryStateStore.get_or_create("sessions/1", emulator.credential, emulator.endpoint)
    async with aclosing(made):
        yield made


async def test_a_store_is_made_once_and_then_found(emulator: Emulator) -> None:
    found: list[StateStore] = []
    for tags in ({"a": "b"}, {"too": "late"}):
        made = await FoundryStateStore.get_or_create(
            "sessions/ü", emulator.credential, emulator.endpoint, item_ttl_seconds=7, tags=tags
        )
        async with aclosing(made) as store:
            found.append(await store.get())
    assert (found[0].name, found[0].item_ttl_seconds, found[0].user_isolation) == ("sessions/ü", 7, False)
    assert [store.tags for store in found] == [{"a": "b"}] * 2
    assert emulator.log.routes == ["stores.get", "stores.create", "stores.get", "stores.get", "stores.get"]


async def test_an_update_changes_what_it_names_and_clears_on_demand(store: FoundryStateStore) -> None:
    updated = await store.update(description="d", tags={"a": "1"})
    assert (updated.description, updated.tags) == ("d", {"a": "1"})
    assert (await store.update(description=None)).description is None
    assert (await store.get()).tags == {"a": "1"}
    assert not (await store.update(tags=None)).tags


async def test_deleting_a_store_takes_its_items_and_may_be_repeated(
    emulator: Emulator, store: FoundryStateStore
) -> None:
    await store.set_item("k", {"a": 1})
    assert (await store.delete()).deleted
    assert (await store.delete()).deleted
    for refused in (store.get(), store.set_item("k", {}), store.list_keys(), store.delete_item("k")):
        with pytest.raises(FoundryStorageNotFoundError):
            await refused
    again = await FoundryStateStore.get_or_create("sessions/1", emulator.credential, emulator.endpoint)
    async with aclosing(again):
        assert await again.get_item("k") is None


async def test_an_item_comes_back_as_it_was_written(store: FoundryStateStore) -> None:
    value: Any = {"nested": [1, None, {"ü": True}]}
    made = await store.create_item("k/1", value, tags={"a": "b"})
    item = await store.get_item("k/1")
    assert item is not None
    assert (item.key, item.value, item.tags, item.etag, item.id) == ("k/1", value, {"a": "b"}, made.etag, made.id)
    assert await store.get_item("other") is None


async def test_creating_an_item_twice_is_a_conflict(store: FoundryStateStore) -> None:
    await store.create_item("k", {})
    with pytest.raises(FoundryStorageConflictError, match="already exists"):
        await store.create_item("k", {})


async def test_a_write_on_an_old_etag_fails_and_says_the_current_one(store: FoundryStateStore) -> None:
    first = await store.create_item("k", {"n": 1})
    second = await store.set_item("k", {"n": 2}, if_match=first.etag)
    assert (second.id, second.created_at) == (first.id, first.created_at)
    for refused in (store.set_item("k", {"n": 3}, if_match=first.etag), store.delete_item("k", if_match=first.etag)):
        with pytest.raises(FoundryStoragePreconditionError) as failure:
            await refused
        assert failure.value.current_etag == second.etag
    await store.set_item("k", {"n": 3}, if_match=failure.value.current_etag)
    item = await store.get_item("k")
    assert item is not None
    assert item.value == {"n": 3}


async def test_a_write_that_needs_an_item_fails_without_one(store: FoundryStateStore) -> None:
    for refused in (store.set_item("k", {}, require_exists=True), store.set_item("k", {}, if_match='"1"')):
        with pytest.raises(FoundryStoragePreconditionError) as failure:
            await refused
        assert failure.value.current_etag is None
    await store.create_item("k", {})
    await store.set_item("k", {"now": "there"}, require_exists=True)


async def test_deleting_an_item_may_be_repeated_and_a_new_one_is_another(store: FoundryStateStore) -> None:
    first = await store.create_item("k", {})
    assert (await store.delete_item("k", if_match=first.etag)).deleted
    assert (await store.delete_item("k")).deleted
    assert (await store.create_item("k", {})).id != first.id


async def test_writing_an_item_without_tags_clears_them(store: FoundryStateStore) -> None:
    await store.create_item("k", {}, tags={"a": "b"})
    await store.set_item("k", {})
    item = await store.get_item("k")
    assert item is not None
    assert not item.tags


async def test_keys_are_listed_by_tags_in_pages_whose_cursors_are_item_ids(store: FoundryStateStore) -> None:
    made = {
        key: await store.create_item(key, {}, tags={"odd": str(n % 2), "all": "1"}) for n, key in enumerate("abcde")
    }

    async def keys(**asked: Any) -> tuple[list[str], bool]:
        page = await store.list_keys(**asked)
        assert [page.first_id, page.last_id] == ([page.keys[0].id, page.keys[-1].id] if page.keys else [None, None])
        return [key.key for key in page.keys], page.has_more

    assert await keys() == (list("edcba"), False)
    assert await keys(order="asc", limit=2) == (["a", "b"], True)
    assert await keys(order="asc", limit=2, after=made["b"].id) == (["c", "d"], True)
    assert await keys(order="asc", limit=2, after=made["d"].id) == (["e"], False)
    assert await keys(order="asc", before=made["c"].id) == (["a", "b"], False)
    assert await keys(after="b") == ([], False)
    assert await keys(tags={"odd": "1", "all": "1"}) == (["d", "b"], False)
    assert await keys(tags={"odd": "2"}) == ([], False)
    await store.set_item("a", {"changed": True})
    assert await keys(order="asc", limit=1) == (["a"], True)
    listed = (await store.list_keys(limit=1)).keys[0]
    assert (listed.etag, listed.tags) == (made["e"].etag, {"odd": "0", "all": "1"})


async def test_time_to_live_counts_from_the_last_write(foundry_emulator: StartEmulator) -> None:
    now = [1000.0]
    async with foundry_emulator(clock=lambda: now[0]) as emulator:
        made = await FoundryStateStore.get_or_create("s", emulator.credential, emulator.endpoint, item_ttl_seconds=10)
        async with aclosing(made) as store:
            first = await store.create_item("k", {})
            await store.create_item("read", {})
            now[0] += 9
            await store.set_item("k", {}, if_match=first.etag)
            assert await store.get_item("read") is not None
            now[0] += 9
            assert await store.get_item("read") is None
            assert [key.key for key in (await store.list_keys()).keys] == ["k"]
            now[0] += 1
            assert await store.get_item("k") is None
            again = await store.create_item("k", {})
            assert again.created_at == int(now[0])
            assert again.id != first.id


async def test_items_of_a_store_that_never_expires_stay(foundry_emulator: StartEmulator) -> None:
    now = [0.0]
    async with foundry_emulator(clock=lambda: now[0]) as emulator:
        made = await FoundryStateStore.get_or_create("s", emulator.credential, emulator.endpoint, item_ttl_seconds=-1)
        async with aclosing(made) as store:
            await store.create_item("k", {})
            now[0] = 1e12
            assert await store.get_item("k") is not None


async def test_items_of_an_isolated_store_belong_to_one_user_each(emulator: Emulator) -> None:
    made = await FoundryStateStore.get_or_create("s", emulator.credential, emulator.endpoint, user_isolation=True)
    async with aclosing(made) as store:
        await store.create_item("k", {"of": "alice"}, call_id=call_id_for("alice"))
        assert await store.get_item("k", call_id=call_id_for("bob")) is None
        assert await store.get_item("k") is None
        await store.create_item("k", {"of": "bob"}, call_id=call_id_for("bob"))
        item = await store.get_item("k", call_id=call_id_for("alice"))
        assert item is not None
        assert item.value == {"of": "alice"}
    trusted = FoundryStateStore("s", emulator.credential, emulator.endpoint, user_id="bob")
    async with aclosing(trusted):
        item = await trusted.get_item("k", call_id=call_id_for("alice"))
        assert item is not None
        assert item.value == {"of": "bob"}


async def test_items_of_other_stores_are_shared_by_all_users(store: FoundryStateStore) -> None:
    await store.create_item("k", {}, call_id=call_id_for("alice"))
    assert await store.get_item("k", call_id=call_id_for("bob")) is not None


async def test_the_call_id_of_the_current_request_says_who_asks(emulator: Emulator, store: FoundryStateStore) -> None:
    token = set_request_context(FoundryAgentRequestContext(call_id=call_id_for("alice@example.com")))
    try:
        await store.set_item("k", {})
    finally:
        reset_request_context(token)
    assert emulator.log[-1].user == "alice@example.com"


@pytest.mark.parametrize(
    ("key", "value", "tags", "param"),
    [
        ("k" * 129, {}, None, "key"),
        ("k", {"v": "x" * 1024 * 1024}, None, "value"),
        ("k", ["no", "object"], None, "value"),
        ("k", {}, {str(n): "" for n in range(17)}, "tags"),
        ("k", {}, {"a": 1}, "tags"),
    ],
)
async def test_what_is_over_a_limit_is_refused_with_the_field(
    store: FoundryStateStore, key: str, value: Any, tags: Any, param: str
) -> None:
    for refused in (store.create_item(key, value, tags=tags), store.set_item(key, value, tags=tags)):
        with pytest.raises(FoundryStorageBadRequestError) as failure:
            await refused
        assert failure.value.param == param


async def test_what_is_just_within_the_limits_is_stored(store: FoundryStateStore) -> None:
    await store.create_item("k" * 128, {"v": "x" * (1024 * 1024 - 8)}, tags={str(n): "" for n in range(16)})


@pytest.mark.parametrize(
    ("options", "param"),
    [({"name": "n" * 129}, "name"), ({"item_ttl_seconds": 0}, "item_ttl_seconds"), ({"item_ttl_seconds": -2}, None)],
)
async def test_a_store_that_cannot_be_is_refused(emulator: Emulator, options: Any, param: str | None) -> None:
    wanted: dict[str, Any] = {"name": "s", "credential": emulator.credential, "endpoint": emulator.endpoint, **options}
    with pytest.raises(FoundryStorageBadRequestError) as failure:
        await FoundryStateStore.get_or_create(**wanted)
    assert failure.value.param == (param or "item_ttl_seconds")


@pytest.mark.parametrize("limit", [0, 101])
async def test_a_page_has_one_to_a_hundred_keys(store: FoundryStateStore, limit: int) -> None:
    with pytest.raises(FoundryStorageBadRequestError):
        await store.list_keys(limit=limit)
