"""The events that an earlier process logged: completed once, numbered on, and never continued after their end."""

from __future__ import annotations

from typing import Any

import pytest

from hostedagent.engine.sent_events import LoggedSentEvents, Sent
from hostedagent.identity import Caller, Scope
from hostedagent.protocol.json import decode
from hostedagent.protocol.sse import event_data
from hostedagent.stores.base import LoggedEvent, StoreNotFound
from hostedagent.stores.local import LocalEventLog

ADA, BOB = Caller(Scope("user:ada")), Caller(Scope("user:bob"))
R = "caresp_1"
CREATED = {"type": "response.created", "response": {"id": R}}


def added(index: int, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index: int, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


async def logged(*events: dict[str, Any], first: int = 0) -> LocalEventLog:
    log = LocalEventLog()
    numbered = ({**event, "sequence_number": number} for number, event in enumerate(events, first))
    await log.append(ADA, R, [LoggedEvent(event["sequence_number"], event_data(event)) for event in numbered])
    return log


async def stored(log: LocalEventLog) -> list[tuple[int, int, str]]:
    """The numbers inside and outside of the events, and their types."""
    rows = [(row.number, decode(row.data)) for row in await log.read(ADA, R)]
    return [(number, event["sequence_number"], event["type"].removeprefix("response.")) for number, event in rows]


async def test_open_items_are_closed_once_and_numbered_on() -> None:
    log = await logged(
        CREATED, added(0, id="a", type="x"), added(1, id="b", type="x"), done(0, id="a", type="x"), first=3
    )
    events = LoggedSentEvents(log)

    first = await events.repair(ADA, R)
    before = await stored(log)
    again = await events.repair(ADA, R)

    assert before[4:] == [(7, 7, "output_item.done")]
    assert await stored(log) == before
    assert first == again
    assert (first.last, first.has_ended, {n: item["id"] for n, item in first.items.items()}) == (
        7,
        False,
        {0: "a", 1: "b"},
    )


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed", "error"])
async def test_nothing_follows_the_end_of_a_log(kind: str) -> None:
    log = await logged(CREATED, added(0, id="a", type="x"), {"type": kind})
    before = await stored(log)

    sent = await LoggedSentEvents(log).repair(ADA, R)
    assert (sent.has_ended, sent.last, sent.items) == (True, 2, {})
    assert await stored(log) == before


async def test_a_log_without_events_begins_with_the_first_number() -> None:
    log = await logged()
    sent = await LoggedSentEvents(log).repair(ADA, R)
    assert (sent.last, sent.has_ended, sent.items, await stored(log)) == (-1, False, {}, [])


async def test_a_log_of_somebody_else_is_as_missing_as_any() -> None:
    events = LoggedSentEvents(await logged(CREATED))
    assert await events.repair(BOB, R) == Sent() == await events.repair(ADA, "caresp_2")
    assert (Sent().last, Sent().has_ended, Sent().name) == (-1, False, "")


async def test_a_discarded_log_is_gone() -> None:
    log = await logged(CREATED)
    await LoggedSentEvents(log).discard(ADA, R)
    with pytest.raises(StoreNotFound):
        await log.read(ADA, R)
