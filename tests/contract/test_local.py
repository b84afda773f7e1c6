"""The event logs and the signals of one process pass the contracts."""

from __future__ import annotations

import pytest

from hostedagent.stores.base import EventLog, ExclusiveEventLog, Signals
from hostedagent.stores.local import LocalEventLog, LocalSignals
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.stored_events import StoredEventLog
from hostedagent.testing.event_log_contract import EventLogContract
from hostedagent.testing.signals_contract import SignalsContract


def test_every_log_of_the_package_refuses_the_events_of_another_writer() -> None:
    postgres = pytest.importorskip("hostedagent.stores.postgres.event_log")
    assert all(
        issubclass(kind, ExclusiveEventLog) for kind in (LocalEventLog, StoredEventLog, postgres.PostgresEventLog)
    )


class TestLocalEventLog(EventLogContract):
    @pytest.fixture
    def log(self) -> EventLog:
        return LocalEventLog()


class TestStoredEventLog(EventLogContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()

    @pytest.fixture
    def log(self, store: MemoryStore) -> EventLog:
        return StoredEventLog(store, poll=0.01)

    @pytest.fixture
    def other(self, store: MemoryStore) -> EventLog:
        return StoredEventLog(store, poll=0.01)


class TestSignalsOfAnExclusiveStore(SignalsContract):
    @pytest.fixture
    def signals(self) -> Signals:
        return LocalSignals(is_exclusive=True)

    async def test_every_other_process_has_ended(self, signals: Signals) -> None:
        assert await signals.is_dead("a name of before")


class TestSignalsOfASharedStore(SignalsContract):
    @pytest.fixture
    def signals(self) -> Signals:
        return LocalSignals(is_exclusive=False)

    async def test_nobody_is_known_to_have_ended(self, signals: Signals) -> None:
        assert await signals.name() == ""
        assert not await signals.is_dead("a name of before")
