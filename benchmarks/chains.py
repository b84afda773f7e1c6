"""Conversations: what turn `k` of a chain by `previous_response_id` costs, and what a turn waits for storage."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from client import Caller, Request
from environments import System
from loads import says
from processes import Served, Setting, Store, serving
from rows import Measured, Row, against_base, growth, plain
from storage import foundry

LATENCY: Final = 0.005
_TURNS: Final = 200
_WINDOW: Final = 5
"""The cost of turn `k` is that of the eleven turns around it, at the end of a chain that of the last eleven."""

_STATE: Final = ("items.", "stores.")


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn took."""

    cpu: float
    seconds: float


def chained(turns: int, *servers: Served) -> list[list[Turn]]:
    """One conversation with each server, each turn answering the one before; the servers take turns."""

    async def converse() -> list[list[Turn]]:
        talks = [_Talk(served) for served in servers]
        for _ in range(turns):
            for talk in talks:
                await talk.go_on()
        for talk in talks:
            await talk.caller.close()
        return [talk.turns for talk in talks]

    return asyncio.run(converse())


class _Talk:
    def __init__(self, served: Served) -> None:
        self.served = served
        self.caller = Caller(served.port)
        self.turns: list[Turn] = []
        self._previous: dict[str, str] = {}

    async def go_on(self) -> None:
        cpu, start = self.served.cpu, time.perf_counter()
        answer = await self.caller.send(Request.of(says(10, stream=True) | self._previous))
        self.turns.append(Turn(self.served.cpu - cpu, time.perf_counter() - start))
        self._previous = {"previous_response_id": answer.response_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A conversation of 200 turns in a fresh process."""

    name: str
    title: str
    store: Store
    systems: tuple[System, ...]
    most_runs: int | None = None
    rows: tuple[Row, ...] = (
        against_base("CPU of turn 20, ms", "cpu_20"),
        against_base("CPU of turn 200, ms", "cpu_200"),
        against_base("CPU that turn 200 takes beyond turn 20, ms", "grown"),
        against_base("turn 20, ms", "wall_20"),
        against_base("turn 200, ms", "wall_200"),
        growth("CPU of the same system: turn 200 against turn 20", "cpu_200", "cpu_20"),
    )

    @contextmanager
    def open(self, system: System, share: float) -> Generator[Callable[[], Measured]]:
        with ExitStack() as stack:
            setting = Setting(store=self.store)
            if self.store == "foundry":
                setting = stack.enter_context(foundry(LATENCY)).setting
            yield lambda: self._measure(system, setting, share)

    def _measure(self, system: System, setting: Setting, share: float) -> Measured:
        with serving(system, setting) as served:
            chained(3, served)
            (turns,) = chained(max(round(_TURNS * share), 2 * _WINDOW + 1), served)
        middle = round(len(turns) * 20 / _TURNS)
        early, late = turns[max(middle - _WINDOW, 0) : middle + _WINDOW + 1], turns[-2 * _WINDOW - 1 :]
        cpu_20, cpu_200 = (statistics.mean(turn.cpu for turn in turns) * 1e3 for turns in (early, late))
        return {
            "cpu_20": cpu_20,
            "cpu_200": cpu_200,
            "grown": cpu_200 - cpu_20,
            "wall_20": statistics.median(turn.seconds for turn in early) * 1e3,
            "wall_200": statistics.median(turn.seconds for turn in late) * 1e3,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Trips:
    """Storage round trips of a chained turn, and what it waits for them: the difference that a latency makes."""

    name: str
    title: str
    systems: tuple[System, ...] = ("ours", "own", "sdk", "peer")
    turns: int = 30
    most_runs: int | None = None
    rows: tuple[Row, ...] = (
        plain("response store round trips a turn", "responses"),
        plain("state store round trips a turn", "state"),
        plain("round trips that a turn waits for, one after the other", "waits"),
        plain("storage wait of a turn at 5 ms, ms", "wait"),
        against_base("ms a turn without latency", "wall"),
    )

    @contextmanager
    def open(self, system: System, share: float) -> Generator[Callable[[], Measured]]:
        with ExitStack() as stack:
            # A latency that stands out from what a busy machine adds.
            slow, quick = (stack.enter_context(foundry(latency)) for latency in (10 * LATENCY, 0.0))
            late, soon = (stack.enter_context(serving(system, storage.setting)) for storage in (slow, quick))
            turns = max(round(self.turns * share), 3)

            def measure() -> Measured:
                chained(2, late, soon)
                slow.calls()
                of_late, of_soon = chained(turns, late, soon)
                calls = slow.calls()
                state = sum(count for route, count in calls.items() if route.startswith(_STATE))
                waits = [a.seconds - b.seconds for a, b in zip(of_late[1:], of_soon[1:], strict=True)]
                trips = statistics.median(waits) / (10 * LATENCY)
                return {
                    "responses": (calls.total() - state) / turns,
                    "state": state / turns,
                    "waits": trips,
                    "wait": trips * LATENCY * 1e3,
                    "wall": statistics.median(turn.seconds for turn in of_soon[1:]) * 1e3,
                }

            yield measure


CHAINS: Final = (
    Chain(
        name="chain-memory",
        title="chain of 200 turns, in memory",
        store="memory",
        systems=("ours", "own", "sdk", "thin", "agent", "helpers", "peer"),
    ),
    Chain(
        name="chain-sqlite",
        title="chain of 200 turns, on disk: ours in SQLite, the others in files",
        store="file",
        systems=("ours", "own", "sdk", "helpers", "peer"),
    ),
    Chain(
        name="chain-foundry",
        title="chain of 200 turns, on the Foundry emulator with 5 ms latency",
        store="foundry",
        systems=("ours", "own", "sdk", "peer"),
    ),
    Trips(name="trips", title="storage of a chained turn, on the Foundry emulator"),
)
