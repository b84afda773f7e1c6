"""The log of a turn that is taken up again: what is open is closed, and what has ended stays as it is."""

from collections.abc import Generator
from typing import Any

import pytest
from azure.ai.agentserver.core.streaming import EventStreamClosedError, EventStreamNotFoundError, streams

from hostedagent.engine.sent_events import Sent
from hostedagent.identity import Caller
from hostedagent.server.agentserver.event_streams import SdkEvents

NAME = "caresp_" + "e" * 50
SENT: list[dict[str, Any]] = [
    {"type": "response.created", "response": {"id": NAME}},
    {"type": "response.output_item.added", "output_index": 0, "item": {"id": "fc_1", "type": "function_call"}},
    {"type": "response.output_item.done", "output_index": 0, "item": {"id": "fc_1", "type": "function_call"}},
    {"type": "response.output_item.added", "output_index": 1, "item": {"id": "x_2", "type": "x", "status": "at it"}},
]
ENDED = {"type": "response.completed", "response": {"id": NAME}}


@pytest.fixture(autouse=True)
def registry() -> Generator[None]:
    streams.use_in_memory_replay(cursor_fn=lambda event: event["sequence_number"])
    yield
    streams.use_in_memory_live()


async def sent(*events: dict[str, Any], is_closed: bool = False) -> None:
    await streams.delete(NAME)
    stream = await streams.get_or_create(NAME)
    for number, event in enumerate(events):
        await stream.emit({**event, "sequence_number": number})
    if is_closed:
        await stream.close()


async def numbered() -> list[tuple[int, str]]:
    stream = await streams.get(NAME)
    await stream.close()
    return [(event["sequence_number"], event["type"].removeprefix("response.")) async for event in stream.subscribe()]


@pytest.mark.parametrize("is_closed", [False, True], ids=["killed", "ended in order"])
async def test_what_is_open_is_closed_and_the_next_event_has_the_next_number(is_closed: bool) -> None:
    await sent(*SENT, is_closed=is_closed)
    found = await SdkEvents().repair(Caller(), NAME)
    await SdkEvents().announce(found, {"type": "response.in_progress", "response": {}})

    assert {index: item["id"] for index, item in found.items.items()} == {0: "fc_1", 1: "x_2"}
    assert found.items[1]["status"] == "incomplete"
    assert await numbered() == [
        (0, "created"),
        (1, "output_item.added"),
        (2, "output_item.done"),
        (3, "output_item.added"),
        (4, "output_item.done"),
        (5, "in_progress"),
    ]


async def test_nothing_follows_the_end() -> None:
    await sent(*SENT[:3], ENDED)
    found = await SdkEvents().repair(Caller(), NAME)
    await SdkEvents().announce(found, {"type": "response.in_progress", "response": {}})

    assert found.has_ended
    with pytest.raises(EventStreamClosedError):
        await (await streams.get(NAME)).emit({"type": "late", "sequence_number": 9})
    assert [kind for _, kind in await numbered()] == ["created", "output_item.added", "output_item.done", "completed"]


async def test_where_nothing_was_sent_nothing_is_left_behind() -> None:
    await streams.delete(NAME)

    assert await SdkEvents().repair(Caller(platform_user="ada"), NAME) == Sent()
    with pytest.raises(EventStreamNotFoundError):
        await streams.get(NAME)


async def test_a_log_can_be_discarded() -> None:
    await sent(*SENT)
    await SdkEvents().discard(Caller(platform_user="ada"), NAME)

    with pytest.raises(EventStreamNotFoundError):
        await streams.get(NAME)
