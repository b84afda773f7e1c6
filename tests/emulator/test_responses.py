from typing import Any

import pytest
from azure.ai.agentserver.responses import (
    FoundryBadRequestError,
    FoundryResourceNotFoundError,
    FoundryStorageProvider,
    PlatformContext,
)
from azure.ai.agentserver.responses.store import ResponseAlreadyExistsError

from .conftest import of
from .wire import message, response


async def ids(provider: FoundryStorageProvider, context: PlatformContext, **asked: Any) -> list[str]:
    wanted: dict[str, Any] = {"previous_response_id": None, "conversation_id": None, "limit": -1, **asked}
    return await provider.get_history_item_ids(**wanted, context=context)


async def two_turns(provider: FoundryStorageProvider) -> None:
    """`r1`: i1 -> o1, then `r2`: i2 -> o2, chained."""
    await provider.create_response(response("r1"), [message("i1")], [], context=of("alice"))
    await provider.update_response(response("r1", message("o1"), status="completed"), context=of("alice"))
    await provider.create_response(response("r2"), [message("i2")], ["i1", "o1"], context=of("alice"))
    await provider.update_response(response("r2", message("o2"), status="completed"), context=of("alice"))


async def test_a_response_comes_back_as_it_was_last_written(provider: FoundryStorageProvider) -> None:
    hidden = message("o1", internal_metadata={"kept": ["for", "us"]})
    await provider.create_response(response("r1"), [message("i1")], [], context=of("alice"))
    assert await provider.get_response("r1", context=of("alice")) == response("r1")
    await provider.update_response(response("r1", hidden, status="completed"), context=of("alice"))
    assert await provider.get_response("r1", context=of("alice")) == response("r1", hidden, status="completed")
    assert await provider.get_items(["o1"], context=of("alice")) == [hidden]


async def test_nobody_sees_what_belongs_to_another_user(provider: FoundryStorageProvider) -> None:
    await two_turns(provider)
    for stranger in (of("bob"), PlatformContext(), PlatformContext(call_id=""), None):
        with pytest.raises(FoundryResourceNotFoundError):
            await provider.get_response("r1", context=stranger)
        with pytest.raises(FoundryResourceNotFoundError):
            await provider.update_response(response("r1"), context=stranger)
        with pytest.raises(FoundryResourceNotFoundError):
            await provider.delete_response("r1", context=stranger)
        with pytest.raises(FoundryResourceNotFoundError):
            await provider.get_input_items("r1", context=stranger)
        with pytest.raises(FoundryResourceNotFoundError):
            await provider.get_history_item_ids("r1", None, -1, context=stranger)
        assert await provider.get_items(["i1", "o1"], context=stranger) == [None, None]
    await provider.create_response(response("r1", status="queued"), [], [], context=of("bob"))
    assert (await provider.get_response("r1", context=of("alice"))).get("status") == "completed"


async def test_a_second_create_of_an_id_is_the_sdks_already_exists(provider: FoundryStorageProvider) -> None:
    await provider.create_response(response("r1"), [], [], context=of("alice"))
    with pytest.raises(ResponseAlreadyExistsError):
        await provider.create_response(response("r1"), [], [], context=of("alice"))


async def test_updating_or_reading_an_unknown_response_is_not_found(provider: FoundryStorageProvider) -> None:
    with pytest.raises(FoundryResourceNotFoundError, match="'nothing' not found"):
        await provider.get_response("nothing", context=of("alice"))
    with pytest.raises(FoundryResourceNotFoundError):
        await provider.update_response(response("nothing"), context=of("alice"))


async def test_items_come_back_in_the_order_asked_with_gaps(provider: FoundryStorageProvider) -> None:
    await two_turns(provider)
    found = await provider.get_items(["o2", "missing", "i1", "o2"], context=of("alice"))
    assert [item and item.get("id") for item in found] == ["o2", None, "i1", "o2"]


async def test_the_history_of_a_response_is_its_chain_and_the_limit_keeps_the_newest(
    provider: FoundryStorageProvider,
) -> None:
    await two_turns(provider)
    alice = of("alice")
    assert await ids(provider, alice, previous_response_id="r1") == ["i1", "o1"]
    assert await ids(provider, alice, previous_response_id="r2") == ["i1", "o1", "i2", "o2"]
    assert await ids(provider, alice, previous_response_id="r2", limit=3) == ["o1", "i2", "o2"]
    assert await ids(provider, alice, previous_response_id="r2", limit=0) == []
    assert await ids(provider, alice) == []
    with pytest.raises(FoundryResourceNotFoundError):
        await ids(provider, alice, previous_response_id="r3")
    with pytest.raises(FoundryBadRequestError, match="limit"):
        await ids(provider, alice, previous_response_id="r2", limit=-2)


@pytest.mark.parametrize("conversation", ["conv_1", {"id": "conv_1"}])
async def test_the_history_of_a_conversation_joins_its_responses_in_the_order_they_were_made(
    provider: FoundryStorageProvider, conversation: object
) -> None:
    alice = of("alice")
    await provider.create_response(response("r1", conversation=conversation), [message("i1")], [], context=alice)
    await provider.create_response(response("r2"), [message("i2")], [], context=alice)
    await provider.create_response(response("r3", conversation=conversation), [message("i3")], ["i1"], context=alice)
    await provider.update_response(response("r1", message("o1")), context=alice)
    assert await ids(provider, alice, conversation_id="conv_1") == ["i1", "o1", "i3"]
    assert await ids(provider, alice, conversation_id="conv_2") == []
    assert await ids(provider, of("bob"), conversation_id="conv_1") == []


async def test_a_deleted_response_is_gone_but_its_items_stay_for_those_who_name_them(
    provider: FoundryStorageProvider,
) -> None:
    await two_turns(provider)
    alice = of("alice")
    await provider.delete_response("r1", context=alice)
    with pytest.raises(FoundryResourceNotFoundError):
        await provider.get_response("r1", context=alice)
    with pytest.raises(FoundryResourceNotFoundError):
        await provider.delete_response("r1", context=alice)
    with pytest.raises(FoundryResourceNotFoundError):
        await ids(provider, alice, previous_response_id="r1")
    assert await ids(provider, alice, previous_response_id="r2") == ["i1", "o1", "i2", "o2"]
    assert None not in await provider.get_items(["i1", "o1"], context=alice)
    await provider.create_response(response("r1"), [], [], context=alice)
    assert await ids(provider, alice, previous_response_id="r1") == []


async def test_input_items_are_the_history_and_the_input_in_pages(provider: FoundryStorageProvider) -> None:
    await two_turns(provider)
    alice = of("alice")

    async def page(**asked: Any) -> list[object]:
        return [item.get("id") for item in await provider.get_input_items("r2", **asked, context=alice)]

    assert await page() == ["i2", "o1", "i1"]
    assert await page(ascending=True) == ["i1", "o1", "i2"]
    assert await page(ascending=True, limit=1) == ["i1"]
    assert await page(ascending=True, limit=1, after="i1") == ["o1"]
    assert await page(ascending=True, before="i2") == ["i1", "o1"]
    assert await page(after="o1") == ["i1"]
    assert await page(after="unknown") == []
    with pytest.raises(FoundryBadRequestError, match="limit"):
        await page(limit=101)


async def test_ids_may_hold_any_character(provider: FoundryStorageProvider) -> None:
    name = "a/b?c=d&e %2F ü"
    await provider.create_response(response(name), [message(name)], [], context=of("alice"))
    assert (await provider.get_response(name, context=of("alice")))["id"] == name
    assert await ids(provider, of("alice"), previous_response_id=name) == [name]


async def test_a_malformed_response_is_a_bad_request(provider: FoundryStorageProvider) -> None:
    with pytest.raises(FoundryBadRequestError, match=r"response\.id"):
        await provider.create_response(response(""), [], [], context=of("alice"))
    with pytest.raises(FoundryBadRequestError, match="history_item_ids"):
        await provider.create_response(response("r1"), [], [1], context=of("alice"))  # type: ignore[list-item]
