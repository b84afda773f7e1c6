"""The guard around the Foundry provider: tried again where that is safe, bounded in time, silent about its insides."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from azure.ai.agentserver.responses import FoundryApiError, FoundryBadRequestError, FoundryResourceNotFoundError
from azure.ai.agentserver.responses.store import ResponseAlreadyExistsError

from hostedagent.stores.guarded import REFUSED, UNAVAILABLE, GuardedResponses, Patience
from tests.emulator.wire import message, response

SECRET = "secret-4711"


class Flaky:
    """A provider whose calls end as told; an `Exception` is raised, `"hang"` never ends, anything else is returned."""

    def __init__(self, *ends: Any) -> None:
        self._ends = list(ends)
        self.calls: list[tuple[str, Any]] = []
        self.hangs = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args))
            end = self._ends.pop(0)
            if isinstance(end, Exception):
                raise end
            if end == "hang":
                self.hangs.set()
                await asyncio.Event().wait()
            return end

        return call


def guarded(*ends: Any) -> tuple[GuardedResponses, Flaky]:
    flaky = Flaky(*ends)
    return GuardedResponses(cast("Any", flaky), patience=Patience(timeout=0.2, tries=3, pause=0.0)), flaky


BROKEN: list[Any] = [FoundryApiError(SECRET), ConnectionResetError(SECRET), ValueError(SECRET), "hang"]


@pytest.mark.parametrize("end", BROKEN, ids=str)
async def test_a_call_that_broke_is_tried_again(end: Any) -> None:
    store, flaky = guarded(end, end, {"id": "a"})

    assert await store.get_response("a") == {"id": "a"}
    assert len(flaky.calls) == 3


@pytest.mark.parametrize("end", BROKEN, ids=str)
async def test_a_call_that_stays_broken_says_nothing_of_why(end: Any, caplog: pytest.LogCaptureFixture) -> None:
    store, flaky = guarded(end, end, end)

    with pytest.raises(FoundryApiError) as failed:
        await store.update_response(response("a"))

    assert str(failed.value) == UNAVAILABLE
    assert failed.value.__cause__ is None
    assert len(flaky.calls) == 3
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("error", "words"), [(FoundryResourceNotFoundError, "Not found."), (FoundryBadRequestError, REFUSED)]
)
async def test_an_answer_is_final_and_loses_the_services_words(error: Any, words: str) -> None:
    store, flaky = guarded(error(SECRET))

    with pytest.raises(error) as failed:
        await store.get_history_item_ids("a", None, -1)

    assert str(failed.value) == words
    assert len(flaky.calls) == 1


async def test_a_create_that_meets_itself_is_done() -> None:
    store, flaky = guarded(ConnectionResetError(), ResponseAlreadyExistsError("there"))
    given = (message(item_id) for item_id in ("a", "b"))

    await store.create_response(response("a"), given, iter(["h"]))

    assert [len(call[1][1]) for call in flaky.calls] == [2, 2], "a second try must not find the items used up"


async def test_a_create_that_meets_another_is_told() -> None:
    store, _ = guarded(ResponseAlreadyExistsError("there"))

    with pytest.raises(ResponseAlreadyExistsError):
        await store.create_response(response("a"), [], None)


async def test_a_delete_that_meets_itself_is_done_and_another_is_told() -> None:
    store, _ = guarded(
        ConnectionResetError(), FoundryResourceNotFoundError(SECRET), FoundryResourceNotFoundError(SECRET)
    )

    await store.delete_response("a")
    with pytest.raises(FoundryResourceNotFoundError):
        await store.delete_response("a")


async def test_a_cancelled_call_is_not_tried_again() -> None:
    store, flaky = guarded("hang", "never")
    task = asyncio.create_task(store.get_response("a"))
    await flaky.hangs.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(flaky.calls) == 1
