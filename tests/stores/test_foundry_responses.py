"""Responses on Foundry: retried where that is safe, bounded in time, and without the service's words."""

from __future__ import annotations

import asyncio
import os
import traceback
from typing import Any, cast

import pytest
from azure.ai.agentserver.responses import FoundryApiError, FoundryBadRequestError, FoundryResourceNotFoundError
from azure.ai.agentserver.responses.store import ResponseAlreadyExistsError

from hostedagent.identity import Caller, Scope
from hostedagent.stores.base import StoreConflict, StoreNotFound, StoreRejected, StoreUnavailable
from hostedagent.stores.foundry.responses import REJECTED, UNAVAILABLE, FoundryResponses
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.responses import StoredResponses
from hostedagent.stores.retry import RetryPolicy
from tests.emulator.wire import message, response
from tests.virtual_time import virtual_time

ADA = Caller()
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


def flaky(*ends: Any) -> tuple[FoundryResponses, Flaky]:
    service = Flaky(*ends)
    retry = RetryPolicy(timeout=0.2, tries=3, pause=0.0)
    return FoundryResponses(lambda: cast("Any", service), StoredResponses(MemoryStore()), retry=retry), service


BROKEN: list[Any] = [FoundryApiError(SECRET), ConnectionResetError(SECRET), ValueError(SECRET), "hang"]


@pytest.mark.parametrize("end", BROKEN, ids=str)
async def test_a_call_that_broke_is_tried_again(end: Any) -> None:
    store, service = flaky(end, end, {"id": "a"})

    assert await store.get(ADA, "a") == {"id": "a"}
    assert len(service.calls) == 3


@virtual_time
async def test_each_pause_is_twice_as_long_as_the_one_before() -> None:
    service, retry = Flaky(*[ConnectionResetError()] * 3, {"id": "a"}), RetryPolicy(timeout=0.2, tries=4, pause=1.0)
    store = FoundryResponses(lambda: cast("Any", service), StoredResponses(MemoryStore()), retry=retry)
    await store.get(ADA, "a")

    assert asyncio.get_running_loop().time() == 1 + 2 + 4


@pytest.mark.parametrize("end", BROKEN, ids=str)
async def test_a_call_that_stays_broken_says_nothing_of_why(end: Any, caplog: pytest.LogCaptureFixture) -> None:
    store, service = flaky(end, end, end)

    with pytest.raises(StoreUnavailable) as failed:
        await store.update(ADA, response("a"))

    assert str(failed.value) == UNAVAILABLE
    assert failed.value.__cause__ is None
    assert len(service.calls) == 3
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("error", "translated", "words"),
    [
        (FoundryResourceNotFoundError, StoreNotFound, "Not found."),
        (FoundryBadRequestError, StoreRejected, REJECTED),
    ],
)
async def test_an_answer_is_final_and_loses_the_services_words(error: Any, translated: Any, words: str) -> None:
    store, service = flaky(error(SECRET))

    with pytest.raises(translated) as failed:
        await store.history_ids(ADA, "a", None, -1)

    assert str(failed.value) == words
    assert len(service.calls) == 1


async def test_a_create_that_meets_itself_is_done() -> None:
    store, service = flaky(ConnectionResetError(), ResponseAlreadyExistsError("there"))
    given = (message(item_id) for item_id in ("a", "b"))

    await store.create(ADA, response("a"), given, ["h"])

    assert [len(call[1][1]) for call in service.calls] == [2, 2], "a second try must not find the items used up"


async def test_a_create_that_meets_another_is_told() -> None:
    store, _ = flaky(ResponseAlreadyExistsError("there"))

    with pytest.raises(StoreConflict):
        await store.create(ADA, response("a"), [])


async def test_a_delete_that_meets_itself_is_done_and_another_is_told() -> None:
    store, _ = flaky(ConnectionResetError(), FoundryResourceNotFoundError(SECRET), FoundryResourceNotFoundError(SECRET))

    await store.delete(ADA, "a")
    with pytest.raises(StoreNotFound):
        await store.delete(ADA, "a")


async def test_a_cancelled_call_is_not_tried_again() -> None:
    store, service = flaky("hang", "never")
    task = asyncio.create_task(store.get(ADA, "a"))
    await service.hangs.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(service.calls) == 1


async def test_the_service_is_two_frames_away_and_gets_the_callers_identity() -> None:
    frames: list[list[str]] = []
    contexts: list[Any] = []

    class Service:
        def __getattr__(self, name: str) -> Any:
            async def call(*_: Any, context: Any) -> Any:
                stack = traceback.extract_stack()
                frames.append([row.name for row in stack if f"{os.sep}hostedagent{os.sep}" in row.filename])
                contexts.append((context.user_id_key, context.call_id))
                return []

            return call

    caller = Caller(Scope("user:ada"), platform_user="ada", call_id="call-1")
    store = FoundryResponses(lambda: cast("Any", Service()), StoredResponses(MemoryStore()))
    await store.create(caller, response("a"), [])
    await store.update(caller, response("a"))
    await store.get(caller, "a")
    await store.delete(caller, "a")
    await store.input_items(caller, "a")
    await store.items(caller, ["b"])
    await store.history_ids(caller, "a", None, -1)

    assert len(frames) == 7
    assert max(len(names) for names in frames) <= 2, frames
    assert set(contexts) == {("ada", "call-1")}
