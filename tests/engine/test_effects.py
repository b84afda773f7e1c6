"""`current_turn().effect`: a tool's side effect happens once in a turn, whatever process continues it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from agent_framework import Agent, tool

from hostedagent import AgentHost, EffectUncertain, current_turn, memory_stores
from hostedagent.identity import Caller, Scope
from hostedagent.protocol.types import Json
from hostedagent.stores.base import Key, Record, Store, StoreUnavailable, Write
from hostedagent.stores.effects import EFFECTS, Effects
from hostedagent.stores.memory import MemoryStore
from hostedagent.testing import Gate, OfflineChatClient, serve
from tests.patience import PATIENCE

ADA, BOB = Caller(Scope("user:ada")), Caller(Scope("user:bob"))
R = "caresp_1"


class Charges:
    """Something outside that counts what was done to it."""

    def __init__(self, *, failures: int = 0) -> None:
        self.many = 0
        self._failures = failures

    async def charge(self) -> Json:
        await asyncio.sleep(0)
        if self._failures:
            self._failures -= 1
            raise RuntimeError("declined")
        self.many += 1
        return {"receipt": self.many}


@pytest.fixture
def store() -> Store:
    return MemoryStore()


@pytest.fixture
def charges() -> Charges:
    return Charges()


async def test_an_effect_runs_once_and_its_result_comes_back_in_every_process(store: Store, charges: Charges) -> None:
    results = [await Effects(store).once(ADA, R, "charge", charges.charge) for _ in range(3)]
    assert (results, charges.many) == ([{"receipt": 1}] * 3, 1)


async def test_calls_at_the_same_time_run_an_effect_once(store: Store, charges: Charges) -> None:
    effects = Effects(store)
    results = await asyncio.gather(*(effects.once(ADA, R, "charge", charges.charge) for _ in range(20)))
    assert (results, charges.many) == ([{"receipt": 1}] * 20, 1)


async def test_many_effects_of_one_turn_at_the_same_time_do_not_keep_each_other_from_running(charges: Charges) -> None:
    class Distant(MemoryStore):
        async def read(self, caller: Caller, keys: Sequence[Key]) -> list[Record | None]:
            found = await super().read(caller, keys)
            await asyncio.sleep(0)  # The others read meanwhile.
            return found

    store = Distant()
    effects = Effects(store)
    await asyncio.gather(*(effects.once(ADA, R, f"charge {number}", charges.charge) for number in range(80)))
    again = [await Effects(store).once(ADA, R, f"charge {number}", charges.charge) for number in range(80)]
    assert (len(again), charges.many) == (80, 80)


@pytest.mark.parametrize("key", [7, None, b"charge", ("charge", 7)])
async def test_a_key_is_a_text(store: Store, charges: Charges, key: Any) -> None:
    with pytest.raises(TypeError, match="key of an effect"):
        await Effects(store).once(ADA, R, key, charges.charge)
    assert charges.many == 0


async def test_other_keys_turns_and_callers_are_other_effects(store: Store, charges: Charges) -> None:
    effects = Effects(store)
    places = [(ADA, R, "a"), (ADA, R, "b"), (ADA, "caresp_2", "a"), (BOB, R, "a")]
    results = await asyncio.gather(*(effects.once(*place, charges.charge) for place in places * 2))
    assert charges.many == 4
    assert results[:4] == results[4:]


async def test_a_plain_function_and_a_result_of_nothing_are_effects_too(store: Store) -> None:
    done: list[int] = []
    for _ in range(2):
        assert await Effects(store).once(ADA, R, "note", lambda: done.append(1)) is None
    assert done == [1]


async def test_an_effect_that_raised_has_not_happened_and_may_be_tried_again(store: Store) -> None:
    charges = Charges(failures=1)
    with pytest.raises(RuntimeError, match="declined"):
        await Effects(store).once(ADA, R, "charge", charges.charge)
    assert await Effects(store).once(ADA, R, "charge", charges.charge) == {"receipt": 1}


async def test_a_call_after_a_failure_waits_for_the_calls_before_it(store: Store) -> None:
    effects, charges = Effects(store), Charges(failures=1)

    async def persistent() -> Json:
        with pytest.raises(RuntimeError, match="declined"):
            await effects.once(ADA, R, "charge", charges.charge)
        return await effects.once(ADA, R, "charge", charges.charge)

    results = await asyncio.gather(persistent(), effects.once(ADA, R, "charge", charges.charge))
    assert (results, charges.many) == ([{"receipt": 1}] * 2, 1)


async def test_a_failure_leaves_the_results_of_the_other_effects(store: Store, charges: Charges) -> None:
    await Effects(store).once(ADA, R, "charge", charges.charge)
    with pytest.raises(RuntimeError, match="declined"):
        await Effects(store).once(ADA, R, "refund", Charges(failures=1).charge)

    assert await Effects(store).once(ADA, R, "charge", charges.charge) == {"receipt": 1}


async def test_the_result_of_an_effect_counts_even_if_it_cannot_be_noted(charges: Charges) -> None:
    class FailsLater(MemoryStore):
        writes = 0

        async def write(self, caller: Caller, writes: Sequence[Write]) -> list[str]:
            self.writes += 1
            if self.writes > 1:
                raise StoreUnavailable("away")
            return await super().write(caller, writes)

    store = FailsLater()
    assert await Effects(store).once(ADA, R, "charge", charges.charge) == {"receipt": 1}
    with pytest.raises(EffectUncertain):
        await Effects(store).once(ADA, R, "charge", charges.charge)


@pytest.mark.parametrize("result", [float("nan"), float("inf"), {"at": {1}}])
async def test_what_is_no_json_is_no_result(store: Store, result: Json) -> None:
    with pytest.raises(TypeError, match="'charge' has run"):
        await Effects(store).once(ADA, R, "charge", lambda: result)


async def begun_and_cut_off(store: Store) -> None:
    """Let a process end during the effect."""
    gate, begun = Gate(), asyncio.Event()

    async def hang() -> Json:
        begun.set()
        await gate.wait()
        return None

    task = asyncio.ensure_future(Effects(store).once(ADA, R, "charge", hang))
    await begun.wait()
    task.cancel()
    await asyncio.wait((task,))


async def test_an_effect_during_which_a_process_ended_is_uncertain(store: Store, charges: Charges) -> None:
    await begun_and_cut_off(store)
    with pytest.raises(EffectUncertain, match="'charge'"):
        await Effects(store).once(ADA, R, "charge", charges.charge)
    assert charges.many == 0


async def test_an_uncertain_effect_is_repeated_where_that_does_no_harm(store: Store, charges: Charges) -> None:
    await begun_and_cut_off(store)
    for _ in range(2):
        assert await Effects(store).once(ADA, R, "charge", charges.charge, repeats=True) == {"receipt": 1}


async def test_an_effect_that_cannot_be_noted_does_not_run(charges: Charges) -> None:
    class Away(MemoryStore):
        async def write(self, caller: Caller, writes: object) -> list[str]:
            raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        await Effects(Away()).once(ADA, R, "charge", charges.charge)
    assert charges.many == 0


async def test_a_result_that_cannot_be_stored_is_named(store: Store) -> None:
    with pytest.raises(TypeError, match="'charge' has run"):
        await Effects(store).once(ADA, R, "charge", object)


async def test_an_effect_inside_itself_is_an_error_at_once(store: Store, charges: Charges) -> None:
    effects = Effects(store)

    async def again() -> Json:
        return await effects.once(ADA, R, "charge", charges.charge)

    async def in_tasks() -> Json:
        return list(await asyncio.gather(effects.once(ADA, R, "between", again), charges.charge()))

    for perform in (again, in_tasks):
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(RuntimeError, match="'charge' would wait for itself"):
                await effects.once(ADA, R, "charge", perform)
    assert await again() == {"receipt": 2}  # The attempts have not happened.


async def test_of_effects_that_wait_for_each_other_one_is_refused(store: Store, charges: Charges) -> None:
    effects, both = Effects(store), asyncio.Barrier(2)

    async def waits_for(key: str) -> Json:
        await both.wait()
        return await effects.once(ADA, R, key, charges.charge)

    async with asyncio.timeout(PATIENCE):
        results = await asyncio.gather(
            effects.once(ADA, R, "a", lambda: waits_for("b")),
            effects.once(ADA, R, "b", lambda: waits_for("a")),
            return_exceptions=True,
        )
    assert [type(result) for result in results if result != {"receipt": 1}] == [RuntimeError]


async def test_effects_inside_another_one_run_once(store: Store, charges: Charges) -> None:
    effects, over, later = Effects(store), asyncio.Event(), list[asyncio.Task[Json]]()

    async def afterwards() -> Json:
        await over.wait()
        return await call("outer")

    def call(key: str, perform: Callable[[], Any] = charges.charge) -> Any:
        return effects.once(ADA, R, key, perform)

    async def order() -> Json:
        later.append(asyncio.create_task(afterwards()))
        await effects.once(BOB, R, "outer", charges.charge)
        return await asyncio.gather(*(call(key) for key in ("inner", "other", "inner")))

    results = await call("outer", order)
    assert results[0] == results[2] != results[1]
    assert charges.many == 3
    over.set()
    assert [await task for task in later] == [results]
    assert await call("inner") == results[0]


async def test_outside_a_turn_there_are_no_effects() -> None:
    with pytest.raises(LookupError):
        await current_turn().effect("charge", lambda: None)


async def test_a_tool_runs_its_effect_once_and_deleting_the_response_erases_the_result() -> None:
    stores, charges = memory_stores(), Charges()

    @tool
    async def get_weather(city: str) -> str:
        """Get the weather in a city."""
        receipts = [await current_turn().effect(f"charge {city}", charges.charge) for _ in range(2)]
        return str(receipts)

    agent = Agent(OfflineChatClient(), name="offline", tools=[get_weather])
    async with serve(AgentHost(agent, stores=stores).app) as client:
        reply = await client.post("/responses", json={"input": "What is the weather in Oslo?"})
        key = Key(EFFECTS, reply.json()["id"])
        before = await stores.state.read(Caller(), [key])
        await client.delete(f"/responses/{key.name}")
        after = await stores.state.read(Caller(), [key])

    assert charges.many == 1
    assert before[0] is not None and b"receipt" in before[0].value
    assert after == [None]


@pytest.mark.parametrize("begins", ["before", "after"])
async def test_an_effect_that_outlives_its_deleted_response_leaves_no_record(begins: str) -> None:
    stores, gate, tasks = memory_stores(), Gate(), list[asyncio.Task[Any]]()

    @tool
    async def get_weather(city: str) -> str:
        """Get the weather in a city."""

        async def charge_later() -> Any:
            if begins == "after":
                await gate.wait()
            return await current_turn().effect(f"charge {city}", gate.wait)

        tasks.append(asyncio.create_task(charge_later()))
        await gate.reached()
        return "The weather costs money."

    agent = Agent(OfflineChatClient(), name="offline", tools=[get_weather])
    async with serve(AgentHost(agent, stores=stores, driver="starlette").app) as client:
        reply = await client.post("/responses", json={"input": "What is the weather in Oslo?"})
        key = Key(EFFECTS, reply.json()["id"])
        await client.delete(f"/responses/{key.name}")
        gate.open()
        await asyncio.wait(tasks)
        after = await stores.state.read(Caller(), [key])

    assert after == [None]
    assert isinstance(tasks[0].exception(), RuntimeError) is (begins == "after")
