import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from azure.ai.agentserver.core.storage import FoundryStateStore, FoundryStorageApiError, FoundryStorageConflictError
from azure.ai.agentserver.responses import (
    FoundryApiError,
    FoundryBadRequestError,
    FoundryResourceNotFoundError,
    FoundryStorageProvider,
)
from azure.ai.agentserver.responses.store import ResponseAlreadyExistsError
from azure.core.exceptions import ServiceRequestError, ServiceResponseError

from hostedagent.emulator import Emulator, Fault
from hostedagent.emulator.faults import LEAKED_SECRETS
from hostedagent.testing.plugin import StartEmulator

from .conftest import of
from .wire import message, response

LOST = (ServiceRequestError, ServiceResponseError)


async def create(provider: FoundryStorageProvider, response_id: str = "r1", user: str = "alice") -> None:
    await provider.create_response(response(response_id), [message("i1")], [], context=of(user))


async def is_stored(provider: FoundryStorageProvider, response_id: str = "r1") -> bool:
    try:
        await provider.get_response(response_id, context=of("alice"))
    except FoundryResourceNotFoundError:
        return False
    return True


@pytest.mark.parametrize("status", [400, 403, 409, 429, 502])
async def test_a_status_answers_once_and_changes_nothing(
    emulator: Emulator, provider: FoundryStorageProvider, status: int
) -> None:
    fault = Fault(route="responses.create", kind="status", status=status, code="c", message="m")
    emulator.faults.add(fault)
    with pytest.raises(FoundryBadRequestError if status in (400, 409) else FoundryApiError) as failure:
        await create(provider)
    assert failure.value.response_body == {"error": {"code": "c", "message": "m"}}
    assert (emulator.log[-1].status, emulator.log[-1].fault) == (status, "status")
    assert not await is_stored(provider)
    await create(provider)
    assert len(emulator.log) == 3


async def test_the_sdk_gets_over_a_busy_service_by_itself(emulator: Emulator, provider: FoundryStorageProvider) -> None:
    await create(provider)
    emulator.faults.add(Fault(route="responses.get", kind="status", status=429, times=2, retry_after=0.001))
    assert await is_stored(provider)
    assert [entry.status for entry in emulator.log] == [201, 429, 429, 200]


async def test_a_change_made_behind_a_gateway_timeout_makes_the_sdks_retry_a_conflict(
    emulator: Emulator, provider: FoundryStorageProvider
) -> None:
    emulator.faults.add(Fault(route="responses.create", kind="status", status=504, retry_after=0.001, applied=True))
    with pytest.raises(ResponseAlreadyExistsError):
        await create(provider)
    assert await is_stored(provider)


async def test_a_reset_drops_the_connection_and_changes_nothing(
    emulator: Emulator, provider: FoundryStorageProvider
) -> None:
    emulator.faults.add(Fault(route="responses.create", kind="reset"))
    with pytest.raises(LOST):
        await create(provider)
    assert (emulator.log[0].status, emulator.log[0].fault) == (None, "reset")
    assert not await is_stored(provider)


async def test_a_lost_answer_drops_the_connection_after_the_change(
    emulator: Emulator, provider: FoundryStorageProvider
) -> None:
    emulator.faults.add(Fault(route="responses.create", kind="lose_answer"))
    with pytest.raises(LOST):
        await create(provider)
    assert await is_stored(provider)
    emulator.faults.add(Fault(route="responses.update", kind="lose_answer"))
    with pytest.raises(LOST):
        await provider.update_response(response("r1", message("o1")), context=of("alice"))
    assert None not in await provider.get_items(["o1"], context=of("alice"))


async def test_a_hanging_request_waits_until_it_is_released_and_is_served_then(
    emulator: Emulator, provider: FoundryStorageProvider
) -> None:
    fault = emulator.faults.add(Fault(route="responses.create", kind="hang"))
    creating = asyncio.create_task(create(provider))
    await fault.reached.wait()
    assert not await is_stored(provider)
    assert not creating.done()
    fault.release()
    await creating
    assert await is_stored(provider)


async def test_a_client_that_gave_up_on_a_hanging_request_may_find_its_change_made_later(
    emulator: Emulator, provider: FoundryStorageProvider
) -> None:
    fault = emulator.faults.add(Fault(route="responses.create", kind="hang", applied=True))
    creating = asyncio.create_task(create(provider))
    await fault.reached.wait()
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert await is_stored(provider)


async def test_an_emulator_stops_while_a_request_hangs(foundry_emulator: StartEmulator) -> None:
    async with foundry_emulator() as emulator:
        async with aclosing(FoundryStateStore("s", emulator.credential, emulator.endpoint)) as store:
            fault = emulator.faults.add(Fault(route="items.create", kind="hang"))
            asking = asyncio.create_task(store.create_item("k", {}))
            await fault.reached.wait()
            await emulator.__aexit__(None, None, None)
            with pytest.raises(LOST):
                await asking


async def test_a_slow_request_takes_its_time_and_is_served(
    emulator: Emulator, provider: FoundryStorageProvider
) -> None:
    emulator.faults.add(Fault(route="responses.create", kind="slow", latency=0.05))
    loop = asyncio.get_running_loop()
    started = loop.time()
    await create(provider)
    assert loop.time() - started >= 0.05
    assert await is_stored(provider)


async def test_garbage_is_an_answer_that_is_no_json_to_a_change_that_was_made(
    emulator: Emulator, provider: FoundryStorageProvider
) -> None:
    emulator.faults.add(Fault(route="responses.*", kind="garbage", at=2))
    await create(provider)
    with pytest.raises(ValueError, match="Unterminated string"):
        await provider.get_response("r1", context=of("alice"))
    assert await is_stored(provider)


@pytest.mark.parametrize("status", [400, 403])
async def test_a_leak_is_an_error_full_of_secrets(
    emulator: Emulator, provider: FoundryStorageProvider, status: int
) -> None:
    emulator.faults.add(Fault(route="responses.history", kind="leak", status=status))
    with pytest.raises((FoundryApiError, FoundryBadRequestError)) as failure:
        await provider.get_history_item_ids("r1", None, -1, context=of("alice"))
    assert all(secret in str(failure.value.response_body) for secret in LEAKED_SECRETS)


async def test_a_fault_meets_the_requests_it_counts_to(emulator: Emulator, provider: FoundryStorageProvider) -> None:
    await create(provider, "r0")
    emulator.faults.add(Fault(route="responses.create", kind="status", status=400, at=2, times=2))
    failed: list[str] = []
    for name in ("r1", "r2", "r3", "r4"):
        await provider.get_items([], context=of("alice"))
        try:
            await create(provider, name)
        except FoundryBadRequestError:
            failed.append(name)
    assert failed == ["r2", "r3"]


async def test_a_fault_without_an_end_meets_every_request_until_it_is_cleared(
    emulator: Emulator, provider: FoundryStorageProvider
) -> None:
    emulator.faults.add(Fault(route="*", kind="status", status=400, times=None))
    for _ in range(3):
        with pytest.raises(FoundryBadRequestError):
            await create(provider)
    emulator.faults.clear()
    await create(provider)


async def test_a_fault_of_one_user_leaves_the_others_alone(
    emulator: Emulator, provider: FoundryStorageProvider
) -> None:
    emulator.faults.add(Fault(route="responses.create", kind="status", status=400, user="bob"))
    await create(provider, user="alice")
    with pytest.raises(FoundryBadRequestError):
        await create(provider, user="bob")


async def test_faults_strike_one_after_the_other_and_tell_who_is_left(
    emulator: Emulator, provider: FoundryStorageProvider
) -> None:
    first = emulator.faults.add(Fault(route="responses.create", kind="status", status=400, code="first"))
    second = emulator.faults.add(Fault(route="*", kind="status", status=400, code="second"))
    third = emulator.faults.add(Fault(route="stores.get", kind="reset"))
    for code in ("first", "second"):
        with pytest.raises(FoundryBadRequestError) as failure:
            await create(provider)
        assert failure.value.response_body == {"error": {"code": code, "message": first.message}}
    await create(provider)
    assert (first.reached.is_set(), second.reached.is_set(), emulator.faults.unmet) == (True, True, [third])


async def test_faults_meet_state_stores_too(emulator: Emulator) -> None:
    made = await FoundryStateStore.get_or_create("s", emulator.credential, emulator.endpoint)
    async with aclosing(made) as store:
        emulator.faults.add(Fault(route="items.create", kind="lose_answer"))
        with pytest.raises(LOST):
            await store.create_item("k", {"n": 1})
        with pytest.raises(FoundryStorageConflictError):
            await store.create_item("k", {"n": 1})
        emulator.faults.add(Fault(route="items.get", kind="status", status=403))
        with pytest.raises(FoundryStorageApiError):
            await store.get_item("k")


@pytest.mark.parametrize("wrong", [{"at": 0}, {"times": 0}])
def test_a_fault_that_could_never_strike_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="count from 1"):
        Fault(route="*", kind="reset", **wrong)


def test_a_route_that_no_request_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"responses\.creat"):
        Fault(route="responses.creat", kind="reset")
