"""The use of an `Idempotency-Key` while its request is accepted, in a store that takes its time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from hostedagent.errors import Busy
from hostedagent.identity import Caller, Scope
from hostedagent.stores.base import Etag, Key, Write
from hostedagent.stores.idempotency import IDEMPOTENCY, IdempotencyKeys
from hostedagent.stores.lease_settings import LeaseSettings
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.retry import Retries

ADA = Caller(Scope("user:ada"))
RENEWAL = "hostedagent-key"
REQUEST = "request"
DUE = 31
"""Seconds after which less than half of a lease is left."""


class SlowStore(MemoryStore):
    """Holds the first write of one task back until another task has written."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = ""
        self.begun, self.overtaken = asyncio.Event(), asyncio.Event()

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        task = asyncio.current_task()
        if task is not None and task.get_name() == self.slow:
            self.slow = ""
            self.begun.set()
            await self.overtaken.wait()
        etags = await super().write(caller, writes)
        if self.begun.is_set():
            self.overtaken.set()
        return etags


class Clock:
    """A clock whose pauses end when they are ended."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.ends = asyncio.Event()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await self.ends.wait()
        self.ends.clear()


async def unknown(response_id: str) -> bool:
    return False


@pytest.mark.parametrize("slow", [RENEWAL, REQUEST])
async def test_a_request_that_is_confirmed_while_its_key_is_renewed_keeps_it(slow: str) -> None:
    store, clock = SlowStore(), Clock()
    keys = IdempotencyKeys(store, LeaseSettings(clock=clock, sleep=clock.sleep), Retries())
    await keys.use(ADA, "k", "digest", "r")
    is_accepted, is_confirmed = asyncio.Event(), asyncio.Event()

    async def request() -> None:
        async with keys.accepting(ADA, "k", "r", unknown, unknown) as confirm:
            is_accepted.set()
            await is_confirmed.wait()
            await confirm()

    made = asyncio.create_task(request(), name=REQUEST)
    await is_accepted.wait()
    clock.now += DUE
    store.slow = slow
    first, second = (clock.ends, is_confirmed) if slow == RENEWAL else (is_confirmed, clock.ends)
    first.set()
    await store.begun.wait()
    second.set()
    await made

    use = await keys.find(ADA, "k")
    assert use is not None and use.used_at == clock.now


async def test_a_request_whose_key_another_one_has_is_not_confirmed() -> None:
    store, clock = MemoryStore(), Clock()
    keys = IdempotencyKeys(store, LeaseSettings(clock=clock), Retries())
    await keys.use(ADA, "k", "digest", "r")

    with pytest.raises(Busy):
        async with keys.accepting(ADA, "k", "r", unknown, unknown) as confirm:
            await store.delete(ADA, [Key(IDEMPOTENCY, "k")])
            await keys.use(ADA, "k", "digest", "other")
            clock.now += DUE
            await confirm()
    use = await keys.find(ADA, "k")

    assert use is not None and use.response_id == "other"
