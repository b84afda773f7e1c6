"""Both queues of background turns: in PostgreSQL, and over any store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from importlib.util import find_spec

import pytest

from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.turn_queue import QueuedTurn, QueueLimits, QueueState, StoredTurnQueue, TurnQueue
from tests.postgres.server import MISSING, postgres_dsn, schema


@pytest.fixture(params=["stored", "postgres"])
async def queue(request: pytest.FixtureRequest) -> AsyncIterator[TurnQueue]:
    if request.param == "stored":
        yield StoredTurnQueue(MemoryStore(), time.time)
        return
    if find_spec("psycopg") is None:
        pytest.skip(MISSING)
    from hostedagent.stores.postgres.database import Database
    from hostedagent.stores.postgres.settings import PostgresSettings
    from hostedagent.stores.postgres.turn_queue import PostgresTurnQueue

    with schema() as name:
        database = Database(PostgresSettings(dsn=postgres_dsn(), schema=name, pool_size=8))
        yield PostgresTurnQueue(database)
        await database.aclose()


async def put(queue: TurnQueue, name: str, user: str = "u", conversation: str | None = None, **limits: int) -> bool:
    turn, chosen = QueuedTurn(name, name.encode()), QueueLimits(**{"most": 100, "most_each": 100, **limits})
    is_added = await queue.put(turn, user=user, conversation=conversation, process="p", limits=chosen)
    if is_added:
        await queue.release(name)
    return is_added


async def taken(queue: TurnQueue) -> list[str]:
    """The turns that can be taken, in their order; each is dropped."""
    names: list[str] = []
    while (turn := await queue.take("p")) is not None:
        assert turn.request == turn.response_id.encode() and turn.seconds >= 0
        names.append(turn.response_id)
        await queue.drop(turn.response_id)
    return names


async def test_turns_of_one_user_are_taken_in_their_order(queue: TurnQueue) -> None:
    for name in "abc":
        await put(queue, name)
    assert await taken(queue) == ["a", "b", "c"]
    assert await queue.state() == QueueState()


async def test_users_take_turns_also_those_who_come_late(queue: TurnQueue) -> None:
    for name in ("a1", "a2", "a3", "a4"):
        await put(queue, name, "a")
    await put(queue, "b1", "b")
    await put(queue, "b2", "b")
    first = await queue.take("p")
    assert first is not None and first.response_id == "a1"
    await queue.drop("a1")
    await put(queue, "c1", "c")
    assert await taken(queue) == ["b1", "a2", "b2", "c1", "a3", "a4"]


@pytest.mark.parametrize("is_blocked", [False, True], ids=["free", "behind one that cannot begin"])
async def test_a_turn_does_not_wait_for_all_who_come_later(queue: TurnQueue, *, is_blocked: bool) -> None:
    if is_blocked:  # Its conversation is busy, and the next turn of that waits for it.
        await put(queue, "z1", "z", "c")
        await put(queue, "z2", "z", "c")
        await queue.take("p", "z1")
        await queue.release("z1", delay=3600)
    for name in ("a1", "a2", "a3"):
        await put(queue, name, "a")
    order: list[str] = []
    for number in range(12):
        await put(queue, f"n{number}", f"n{number}")
        turn = await queue.take("p")
        assert turn is not None
        order.append(turn.response_id)
        await queue.drop(turn.response_id)

    assert [order.index(name) <= most for name, most in (("a1", 0), ("a2", 3), ("a3", 6))] == [True] * 3, order


async def test_a_turn_that_was_added_is_not_taken_before_it_is_released(queue: TurnQueue) -> None:
    await queue.put(QueuedTurn("a", b"a"), user="u", conversation=None, process="p", limits=QueueLimits(1, 1))
    assert await queue.take("q") is None
    assert (await queue.state()).takers == ("p",)
    await queue.release("a")
    assert await taken(queue) == ["a"]


async def test_limits_count_all_and_those_of_each_user(queue: TurnQueue) -> None:
    added = [await put(queue, name, user, most=3, most_each=2) for name, user in zip("abcde", "uuuvv", strict=True)]
    assert added == [True, True, False, True, False]


async def test_the_next_turn_of_a_conversation_waits_for_the_one_before(queue: TurnQueue) -> None:
    for name in ("a", "b"):
        await put(queue, name, conversation="c")
    first = await queue.take("p")
    assert first is not None and await queue.take("q") is None
    await queue.drop("a")
    assert await taken(queue) == ["b"]


async def test_a_turn_that_was_put_back_waits_for_its_delay(queue: TurnQueue) -> None:
    await put(queue, "a")
    await queue.take("p")
    await queue.release("a", delay=60)
    assert await queue.take("p") is None
    assert await queue.take("p", "a") is not None
    assert await queue.take("q", "a") is None


async def test_what_a_process_took_that_has_ended_can_be_taken_again(queue: TurnQueue) -> None:
    await put(queue, "a")
    await queue.take("dead")
    state = await queue.state()
    await queue.free("dead")
    assert (state.waiting, state.takers) == (0, ("dead",))
    assert await taken(queue) == ["a"]


async def test_processes_that_take_at_the_same_time_get_different_turns(queue: TurnQueue) -> None:
    names = [f"t{n}" for n in range(12)]
    for name in names:
        await put(queue, name, name)
    state = await queue.state()
    found = await asyncio.gather(*(queue.take(f"p{n}") for n in range(4)))
    while len(turns := {turn.response_id for turn in found if turn is not None}) < len(names):
        more = await asyncio.gather(*map(partial(queue.take), ("p0", "p1", "p2", "p3")))
        assert any(more)
        found += more

    assert (state.waiting, state.oldest >= 0) == (12, True)
    assert turns == set(names) and len([turn for turn in found if turn]) == len(names)
