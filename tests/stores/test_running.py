"""The marks of responses that run: renewed by their process, written again when lost, final when given up."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from hostedagent.errors import Conflict
from hostedagent.identity import Caller, Scope
from hostedagent.stores.base import Key
from hostedagent.stores.lease_settings import LeaseSettings
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.running import RUNNING, Running

ADA = Caller(Scope("user:ada"))


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_a_mark_that_the_store_has_lost_is_written_again(clock: Clock) -> None:
    store = MemoryStore()
    running = Running(store, LeaseSettings(clock=clock))
    await running.begin(ADA, "r")
    await store.delete(ADA, [Key(RUNNING, "r")])
    assert not await running.has(ADA, "r", None)
    clock.now += 31  # Less than half of its time is left.
    await running.ensure_valid("r")

    assert await running.has(ADA, "r", None)
    await running.end(ADA, "r")


async def test_a_response_that_was_given_up_stores_no_outcome(clock: Clock) -> None:
    store = MemoryStore()
    running, other = (Running(store, LeaseSettings(clock=clock)) for _ in range(2))
    await running.begin(ADA, "r")
    assert not await other.give_up(ADA, "r", None), "its process lives"
    clock.now += 61
    assert await other.give_up(ADA, "r", None) and await other.give_up(ADA, "r", None)

    with pytest.raises(Conflict):
        await running.ensure_valid("r")
    await running.end(ADA, "r")


async def test_only_another_process_that_lives_runs_a_response_elsewhere(clock: Clock) -> None:
    class Processes:
        async def name(self) -> str:
            return "this"

        async def is_dead(self, name: str) -> bool:
            return name == "dead"

    running = Running(MemoryStore(), LeaseSettings(clock=clock, liveness=Processes()))

    assert [await running.is_elsewhere(name) for name in ("other", "this", "dead", "")] == [True, False, False, False]
