"""Turns that are taken up again while the stores cannot be read: they stay their user's, and are not given up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hostedagent.conversation.continuation import Continuations
from hostedagent.engine.recoveries import Recoveries
from hostedagent.engine.responses import ResponseStore
from hostedagent.identity import Caller, IsolationKeys, Scope
from hostedagent.options import CallerPolicy, HostOptions
from hostedagent.protocol.request.turn_request import TurnRequest
from hostedagent.server.agentserver.app import SdkDriver
from hostedagent.server.agentserver.event_streams import SdkEvents
from hostedagent.stores.approvals import Approvals
from hostedagent.stores.base import Key, Record, StoreUnavailable
from hostedagent.stores.journals import JOURNAL, Journal, Journals
from hostedagent.stores.lease_settings import LeaseSettings
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.responses import StoredResponses
from hostedagent.stores.running import Running
from hostedagent.stores.sessions import Sessions
from tests.emulator.wire import message, response
from tests.patience import PATIENCE

ADA = Caller(Scope("user:ada"))
PLATFORM = Caller(platform_user="ada", call_id="call")


class Away(MemoryStore):
    """Journals cannot be read so many times."""

    times = 0

    async def read(self, caller: Caller, keys: Sequence[Key]) -> list[Record | None]:
        if any(key.kind == JOURNAL for key in keys) and self.times > 0:
            self.times -= 1
            raise StoreUnavailable("away")
        return await super().read(caller, keys)


async def left_by_a_process(state: Away) -> tuple[ResponseStore, Recoveries]:
    """What the next process has of a turn of Ada's."""
    repository, leases, journals = StoredResponses(state), LeaseSettings(), Journals(state)
    begun = response("resp_1", status="in_progress", background=True)
    await repository.create(ADA, begun, [message("msg_1")])
    await journals.write(ADA, "resp_1", Journal(ADA.scope, IsolationKeys("ada")))
    store = ResponseStore(repository, running=Running(state, leases), journals=journals)
    continuations = Continuations(Sessions(state, leases), Approvals(state), store)
    return store, Recoveries(journals, continuations, store, SdkEvents(), is_on=True)


async def taken_up(store: ResponseStore, recoveries: Recoveries) -> tuple[Scope, bool, str | None]:
    """Whose the turn is, whether it is lost, and the status of its response."""
    caller = await recoveries.recall(PLATFORM, "resp_1")
    assert caller is not None
    request = replace(TurnRequest.parse({"input": "hi"}, CallerPolicy()), response_id="resp_1", caller=caller)
    found = await store.get(caller, "resp_1")
    request, continuation, recovery = await recoveries.resume(request, found)
    return request.scope, continuation.is_lost, cast("dict[str, Any]", recovery.response)["status"]


async def test_a_turn_that_could_not_be_read_at_first_goes_on_as_its_users() -> None:
    state = Away()
    store, recoveries = await left_by_a_process(state)

    async def next_process() -> tuple[Scope, bool, str | None]:
        state.times = 1
        with pytest.raises(StoreUnavailable):  # The SDK only logs that.
            await recoveries.recall(PLATFORM, "resp_1")
        return await taken_up(store, recoveries)

    assert await asyncio.create_task(next_process()) == (ADA.scope, False, "in_progress")


async def test_a_turn_that_cannot_be_read_is_left_to_later_and_nobody_waits_for_it() -> None:
    state = Away()
    store, recoveries = await left_by_a_process(state)
    state.times = 1

    with pytest.raises(StoreUnavailable):
        await asyncio.create_task(taken_up(store, recoveries))
    async with asyncio.timeout(PATIENCE):
        await store.active.until_resumed("resp_1")


async def test_the_sdk_keeps_a_turn_that_cannot_be_read() -> None:
    class KeptError(Exception):
        """The turn is left to the next process."""

    async def exit_for_recovery() -> None:
        raise KeptError

    state = Away()
    store, recoveries = await left_by_a_process(state)
    state.times = 1
    engine = SimpleNamespace(store=store, active=store.active, options=HostOptions(resilient_background=True))
    context = SimpleNamespace(response_id="resp_1", platform_context=None, exit_for_recovery=exit_for_recovery)
    driver = SdkDriver(cast("Any", engine), recoveries, cast("Any", None))

    with pytest.raises(KeptError):
        await anext(driver.handle(cast("Any", {"input": "hi"}), cast("Any", context), asyncio.Event()))
