"""The SDK's buffers of events: read back from the disk, released in time, and none left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from azure.ai.agentserver.core.streaming import EventStreamNotFoundError, streams

from hostedagent.engine.responses import ResponseStore
from hostedagent.identity import Caller, Scope
from hostedagent.server.agentserver.ownership import EventBuffers, private_id
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.responses import StoredResponses
from tests.emulator.wire import response
from tests.virtual_time import virtual_time

ADA = Caller(Scope("user:ada"), platform_user="ada")
R = "caresp_" + "b" * 50
WINDOW = 600
"""Seconds."""


@pytest.fixture(autouse=True)
def disk(tmp_path: Path) -> Generator[Path]:
    on_disk(streams, tmp_path)
    yield tmp_path
    streams.use_in_memory_live()


def number(event: dict[str, Any]) -> int:
    return event["sequence_number"]


def on_disk(registry: Any, folder: Path) -> None:
    registry.use_file_backed_replay(storage_dir=folder, cursor_fn=number)


def files(folder: Path) -> int:
    return len(list(folder.glob("*.jsonl")))


async def left(folder: Path, name: str) -> None:
    """Let an earlier process have kept the events of a stream on the disk."""
    earlier = type(streams)()
    on_disk(earlier, folder)
    stream = await earlier.get_or_create(name)
    await stream.emit({"type": "response.created", "sequence_number": 0})
    await stream.close()


async def begun(*names: str) -> None:
    for name in names:
        await (await streams.get_or_create(name)).emit({"sequence_number": 0})


async def known(*names: str) -> list[str]:
    found: list[str] = []
    for name in names:
        try:
            await streams.get(name)
        except EventStreamNotFoundError:
            continue
        found.append(name)
    return found


async def stored(status: str, name: str) -> ResponseStore:
    store = ResponseStore(StoredResponses(MemoryStore()))
    await store.create(ADA, response(name, status=status), ())
    return store


@pytest.mark.parametrize("is_private", [False, True])
def test_the_events_of_an_earlier_process_are_read_for_a_while(disk: Path, is_private: bool) -> None:
    @virtual_time
    async def test() -> None:
        name = f"{R}{is_private:d}"
        kept = private_id(name, "ada") if is_private else name
        await left(disk, kept)
        buffers = EventBuffers(are_on_disk=True)
        await buffers.find(name, await stored("completed", name), ADA)

        assert await known(name, private_id(name, "ada")) == [kept]
        assert [event["type"] async for event in (await streams.get(kept)).subscribe()] == ["response.created"]
        await asyncio.sleep(WINDOW - 1)
        assert await known(kept) == [kept]
        await asyncio.sleep(2)
        assert await known(kept) == []

    test()


async def test_a_stream_that_there_is_not_leaves_no_buffer(disk: Path) -> None:
    name = R + "2"
    await EventBuffers(are_on_disk=True).find(name, await stored("completed", name), ADA)
    assert await known(name, private_id(name, "ada")) == []
    assert files(disk) == 0


@pytest.mark.parametrize("status", ["in_progress", "queued"])
async def test_the_events_of_a_turn_that_is_about_to_be_resumed_are_left_to_it(disk: Path, status: str) -> None:
    name = R + status
    await left(disk, name)
    await EventBuffers(are_on_disk=True).find(name, await stored(status, name), ADA)
    assert await known(name) == []
    assert files(disk) == 1


@pytest.mark.parametrize("is_private", [False, True])
async def test_a_stream_of_this_process_goes_on(is_private: bool) -> None:
    name = f"{R}4{is_private:d}"
    own = private_id(name, "ada") if is_private else name
    await begun(own)
    buffers = EventBuffers(are_on_disk=True)
    await buffers.find(name, await stored("completed", name), ADA)
    stream = await streams.get(own)
    await stream.emit({"sequence_number": 1})
    assert await stream.last_cursor() == 1
    assert await known(name, private_id(name, "ada")) == [own]


async def test_a_process_without_a_disk_looks_nowhere(disk: Path) -> None:
    name = R + "5"
    await left(disk, name)
    await EventBuffers(are_on_disk=False).find(name, await stored("completed", name), ADA)
    assert await known(name) == []


async def test_what_is_released_leaves_no_marker(monkeypatch: pytest.MonkeyPatch) -> None:
    deleted: list[str] = []
    delete = streams.delete

    async def watched(name: str) -> None:
        deleted.append(name)
        await delete(name)

    await begun(private_id(R, "ada"))
    monkeypatch.setattr(streams, "delete", watched)
    buffers = EventBuffers(are_on_disk=False)
    await buffers.release(R, "ada")
    await buffers.release(R, "ada")
    assert deleted == [private_id(R, "ada")]


def test_the_buffers_of_two_users_have_different_names() -> None:
    assert len({private_id(R, "ada"), private_id(R, "bob"), private_id(R, None), private_id(R + "1", "ada")}) == 4


@pytest.mark.parametrize("is_on_disk", [False, True])
def test_64_ended_streams_hold_open_files(is_on_disk: bool) -> None:
    @virtual_time
    async def test() -> None:
        names = [f"{R}6{is_on_disk:d}{n:02}" for n in range(66)]
        await begun(*names)
        buffers = EventBuffers(are_on_disk=is_on_disk)
        for name in names:
            buffers.release_later(name, None)
        await asyncio.sleep(WINDOW - 1)
        assert await known(*names) == (names[2:] if is_on_disk else names)
        await asyncio.sleep(2)
        assert await known(*names) == []

    test()


@virtual_time
async def test_nothing_is_released_after_the_end() -> None:
    name = R + "7"
    await begun(name)
    buffers = EventBuffers(are_on_disk=False)
    buffers.release_later(name, None)
    buffers.close()
    await asyncio.sleep(2 * WINDOW)
    assert await known(name) == [name]
