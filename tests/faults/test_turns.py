"""Whatever breaks at whichever call of a turn: the caller is told, nothing leaks, and the turn works afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pytest

from hostedagent.emulator import Fault
from hostedagent.emulator.faults import LEAKED_SECRETS
from hostedagent.stores.retry import RetryPolicy
from tests.faults.world import DELIVERIES, TURNS, Delivery, Told, TurnKind, World, world
from tests.virtual_time import virtual_time

T = TypeVar("T")

FAULTS: Final[dict[str, dict[str, Any]]] = {
    "429": {"kind": "status", "status": 429, "retry_after": 3600.0},
    "500": {"kind": "status", "status": 500},
    "503": {"kind": "status", "status": 503},
    "reset": {"kind": "reset"},
    "hang": {"kind": "hang"},
    "lose_answer": {"kind": "lose_answer"},
    "garbage": {"kind": "garbage"},
    "leak": {"kind": "leak", "status": 403},
}

PASSING: Final = [name for name in FAULTS if name != "leak"]
"""The others may be over when the call is tried again; what is forbidden stays so."""

ANSWERS: Final = ("429", "503", "garbage")
"""Those that the client of the stores decides on by the answer alone, whatever is delivered how."""


def faults(names: Iterable[str], turn: TurnKind, delivery: Delivery, *, is_whole: bool) -> list[str]:
    """Those to try: all with one delivery of each turn and with each delivery; `--whole` tries all with all."""
    is_pair = (TURNS.index(turn) - DELIVERIES.index(delivery)) % len(DELIVERIES) == 0
    return [name for name in names if is_whole or is_pair or name not in ANSWERS]


ROUTES: Final[dict[TurnKind, set[str]]] = {
    "first": {"responses.create", "responses.update"},
    "chained": {"items.get", "responses.history", "responses.create", "responses.items", "responses.update"},
    "conversation": {"items.set", "responses.history", "responses.create", "responses.items", "responses.update"},
    "asking": {"responses.create", "responses.update", "items.set", "items.create"},
    "answering": {
        "items.get",
        "items.set",
        "responses.history",
        "responses.create",
        "responses.items",
        "responses.update",
    },
}
"""The calls that a turn of each kind makes: what the matrix must cover."""

MARKS: Final = {"items.set", "items.delete"}
"""Those with which a turn in the background says that it runs; in a conversation its lease says so."""

NEXT: Final[dict[TurnKind, list[str]]] = {
    "first": ["user: say U", "assistant: heard say U", "user: next U"],
    "asking": [
        "user: pay U",
        'assistant: -> pay({"to": "U"})',
        "tool: <- paid U",
        "assistant: It is done.",
        "user: next U",
    ],
}
NEXT["chained"] = NEXT["conversation"] = ["user: before U", "assistant: heard before U", *NEXT["first"]]
NEXT["answering"] = NEXT["asking"]

QUICK: Final = RetryPolicy(timeout=1.2, tries=2, pause=0.01)

BOUND: Final = 30.0
"""Seconds on the clock of the tests, which only what hangs lets go on."""


@dataclass(slots=True)
class Case:
    """One fault at one call of one turn, by a user of its own."""

    user: str
    fault: Fault
    body: dict[str, Any]
    told: Told | None = None


async def calls_of_a_good_turn(served: World, turn: TurnKind, delivery: Delivery) -> list[tuple[str, int]]:
    """Each call of a turn that nothing disturbs: its route, and the how manieth it is."""
    body = await served.begin("good", turn)
    served.emulator.log.clear()
    told = await served.turn("good", body, delivery)
    assert told.is_done, told.raw
    expected = ROUTES[turn] | (MARKS if delivery == "background" and turn != "conversation" else set[str]())
    async with asyncio.timeout(BOUND):
        # A mark is taken away after the turn is told.
        while not expected.issubset(served.calls_of("good")):  # noqa: ASYNC110 - the log tells nobody
            await asyncio.sleep(0.01)
    seen: Counter[str] = Counter()
    calls: list[tuple[str, int]] = []
    for route in served.calls_of("good"):
        seen[route] += 1
        if route != "responses.get":  # The caller's own polling.
            calls.append((route, seen[route]))
    assert {route for route, _ in calls} == expected
    return calls


async def in_turn(calls: Iterable[Coroutine[None, None, T]]) -> list[T]:
    """One after the other: nothing waits here, and a crowd would outwait the host's short patience."""
    return [await call for call in calls]


async def broken_turns(
    served: World, turn: TurnKind, delivery: Delivery, names: Iterable[str], times: int | None
) -> list[Case]:
    """The turn once for each of its calls and each fault, all at once; at the end nothing is broken any more."""
    calls = await calls_of_a_good_turn(served, turn, delivery)
    users = [(f"{route.replace('.', '-')}-{at}-{name}", route, at, name) for route, at in calls for name in names]
    bodies = await in_turn(served.begin(user, turn) for user, *_ in users)
    cases = [
        Case(user, served.emulator.faults.add(Fault(route=route, at=at, times=times, user=user, **FAULTS[name])), body)
        for (user, route, at, name), body in zip(users, bodies, strict=True)
    ]

    async def run(case: Case) -> None:
        async with asyncio.timeout(BOUND):
            case.told = await served.turn(case.user, case.body, delivery)

    await asyncio.gather(*(run(case) for case in cases))
    assert not served.emulator.faults.unmet, "a call was not reached"
    served.emulator.faults.clear()
    return cases


def assert_nothing_leaked(cases: list[Case], caplog: pytest.LogCaptureFixture) -> None:
    logged = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    for secret in LEAKED_SECRETS:
        assert secret not in logged
        assert not [case.user for case in cases if case.told is not None and secret in case.told.raw]


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("turn", TURNS)
@virtual_time
async def test_a_call_that_breaks_once_is_not_noticed(
    turn: TurnKind, delivery: Delivery, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    names = faults(PASSING, turn, delivery, is_whole=bool(request.config.getoption("--whole")))
    async with world(QUICK) as served:
        cases = await broken_turns(served, turn, delivery, names, times=1)
        differing = await prompts_that_differ(served, turn, {case.user: (case.body, case.told) for case in cases})

    noticed = {case.user: case.told.raw[-300:] for case in cases if case.told is not None and not case.told.is_done}
    assert not noticed
    assert differing == {}
    assert_nothing_leaked(cases, caplog)


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("turn", TURNS)
@virtual_time
async def test_a_call_that_stays_broken_is_told_and_the_turn_works_when_it_is_mended(
    turn: TurnKind, delivery: Delivery, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    caplog.set_level(logging.INFO)
    names = faults(FAULTS, turn, delivery, is_whole=bool(request.config.getoption("--whole")))
    async with world(QUICK) as served:
        cases = await broken_turns(served, turn, delivery, names, times=None)

        told = {case.user: case.told for case in cases if case.told is not None}
        assert {user: t.raw[-300:] for user, t in told.items() if not t.is_done and not t.is_clear} == {}
        # What was applied although its answer was lost may have been recognised as done.
        broken = [case for case in cases if case.told is not None and not case.told.is_done]
        assert {case.fault.kind for case in broken} >= {"status", "reset", "hang", "leak"}

        again = dict(zip([c.user for c in broken], await in_turn(retry(served, c) for c in broken), strict=True))
        refused = {user: t.raw for user, t in again.items() if not t.is_done}
        if turn == "answering":  # A tool that ran does not run again.
            refused = {user: why for user, why in refused.items() if "answered before" not in why}
        assert refused == {}
        continued = {c.user: (c.body, again.get(c.user, told[c.user])) for c in cases}
        done = {user: row for user, row in continued.items() if row[1].is_done}
        assert not await prompts_that_differ(served, turn, done)
        assert [user for user, n in Counter(served.paid).items() if n > 1] == []
        assert_nothing_leaked(cases, caplog)


async def retry(served: World, case: Case) -> Told:
    return await served.turn(case.user, case.body)


async def prompts_that_differ(
    served: World, turn: TurnKind, done: Mapping[str, tuple[dict[str, Any], Told | None]]
) -> dict[str, str]:
    """The users whose next turn shows the model anything but what was said, once each."""
    prompts = await in_turn(
        served.next_prompt(user, body, told) for user, (body, told) in done.items() if told is not None
    )
    shown = {user: [line.replace(user, "U") for line in prompt] for user, prompt in zip(done, prompts, strict=True)}
    return {user: " | ".join(lines) for user, lines in shown.items() if lines != NEXT[turn]}
