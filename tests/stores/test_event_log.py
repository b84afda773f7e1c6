"""What a stored event log proves beside the contract: writers in several processes, and events of any size."""

from __future__ import annotations

from hostedagent.identity import Caller, Scope
from hostedagent.stores.base import LoggedEvent
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.stored_events import StoredEventLog

ANN = Caller(Scope("ann"))
ID = "caresp_1"


def events(first: int, last: int) -> list[LoggedEvent]:
    return [LoggedEvent(number, b'{"n":%d}' % number) for number in range(first, last + 1)]


async def test_another_process_continues_the_log() -> None:
    store = MemoryStore()
    await StoredEventLog(store).append(ANN, ID, events(0, 3))
    later = StoredEventLog(store)
    await later.append(ANN, ID, events(2, 5))
    await later.finish(ANN, ID)

    assert await StoredEventLog(store).read(ANN, ID) == events(0, 5)


async def test_of_two_writers_the_later_one_reads_what_the_other_wrote_first() -> None:
    store = MemoryStore()
    one, two = StoredEventLog(store), StoredEventLog(store)
    await one.append(ANN, ID, events(0, 1))
    await two.append(ANN, ID, events(2, 3))
    await one.append(ANN, ID, [LoggedEvent(2, b"late"), LoggedEvent(3, b"late"), *events(4, 4)])
    await two.append(ANN, ID, events(5, 5))

    assert await two.read(ANN, ID) == events(0, 5)


async def test_an_event_larger_than_a_record_is_kept_whole() -> None:
    store = MemoryStore()
    large = LoggedEvent(0, b'"' + b"x" * 2_500_000 + b'"')
    await StoredEventLog(store).append(ANN, ID, [large, *events(1, 1)])

    assert await StoredEventLog(store).read(ANN, ID) == [large, *events(1, 1)]
