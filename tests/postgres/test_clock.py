"""The database's time, by which leases expire, as a process knows it that may be paused while it asks."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("psycopg")

from hostedagent.stores.postgres import listener as listening
from hostedagent.stores.postgres.database import Database
from hostedagent.stores.postgres.listener import Listener
from hostedagent.stores.postgres.settings import PostgresSettings


class Clock:
    """The time here, and that of a database which is ahead."""

    def __init__(self, ahead: float) -> None:
        self.now = 1_000.0
        self.ahead = ahead
        self.before, self.after = 0.01, 0.01

    def time(self) -> float:
        return self.now

    async def execute(self, _: str) -> Any:
        self.now += self.before
        row = (self.now + self.ahead,)
        self.now += self.after

        class Cursor:
            async def fetchone(self) -> Any:
                return row

        return Cursor()


def disconnected() -> Listener:
    return Listener(Database(PostgresSettings(dsn="postgresql://db.example", schema="s")), lambda _: None)


def test_a_process_that_hears_of_nothing_does_not_judge_that_others_have_ended() -> None:
    assert not disconnected().may_judge


async def test_a_process_that_is_paused_while_it_asks_for_the_time_keeps_what_it_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock: Any = Clock(ahead=100.0)
    monkeypatch.setattr(listening, "time", clock)
    listener = disconnected()

    clock.after = 8.0  # Nothing better is known yet.
    await listener.measure(clock)
    assert listener.now() - clock.now == pytest.approx(96.0, abs=0.1)

    clock.after = 0.01
    await listener.measure(clock)
    assert listener.now() - clock.now == pytest.approx(100.0)

    for clock.before, clock.after in ((0.01, 6.0), (6.0, 0.01)):
        await listener.measure(clock)
        assert listener.now() - clock.now == pytest.approx(100.0)

    clock.before, clock.after, clock.ahead = 0.05, 0.05, 101.0
    await listener.measure(clock)
    assert listener.now() - clock.now == pytest.approx(101.0)
