from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from pathlib import Path

import pytest

from hostedagent.identity import Scope
from hostedagent.stores.base import ABSENT, StateUnavailable
from hostedagent.stores.file import FileStateStore

SCOPE = Scope("user:ann")

INCREMENTER = """
import asyncio, sys
from hostedagent.identity import Scope
from hostedagent.stores.file import FileStateStore
from hostedagent.stores.base import ABSENT, StateConflict

async def increment(store):
    while True:
        found = await store.get(Scope("user:ann"), "counter", "k")
        count = found.value["count"] if found else 0
        try:
            await store.put(
                Scope("user:ann"), "counter", "k", {"count": count + 1}, expect=found.etag if found else ABSENT
            )
        except StateConflict:
            continue
        return

async def main(root):
    async with FileStateStore(root) as store:
        await asyncio.gather(*(increment(store) for _ in range(20)))

asyncio.run(main(sys.argv[1]))
"""


def files(root: Path, pattern: str = "*.json") -> list[Path]:
    return list(root.rglob(pattern))


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
async def test_only_the_user_can_read_the_files(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "state"
    async with FileStateStore(root) as store:
        await store.put(SCOPE, "session", "k", {"n": 1})
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}


async def test_nothing_that_a_caller_says_is_part_of_a_path(tmp_path: Path) -> None:
    async with FileStateStore(tmp_path / "state") as store:
        await store.put(Scope("user:../ann"), "../session", "../../k", {"n": 1})
    names = {part for path in files(tmp_path, "*") for part in path.relative_to(tmp_path / "state").parts}
    assert all(
        set(name.removesuffix(".json").removesuffix(".lock")) <= set("0123456789abcdef")
        for name in names - {"values", "locks"}
    )


@pytest.mark.parametrize("damage", ["empty", "cut", "no-header", "other-bytes", "binary", "other-shape"])
async def test_a_damaged_file_counts_as_absent_and_is_written_over(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with FileStateStore(tmp_path) as store:
        await store.put(SCOPE, "session", "k", {"text": "hello"})
        (file,) = files(tmp_path)
        content = file.read_bytes()
        file.write_bytes(
            {
                "empty": b"",
                "cut": content[:-3],
                "no-header": content.partition(b"\n")[2],
                "other-bytes": content.replace(b"hello", b"jello"),
                "binary": b"\xff\x00" * 50,
                "other-shape": json.dumps(["place", "key"]).encode() + b"\n{}",
            }[damage]
        )
        assert await store.get(SCOPE, "session", "k") is None
        assert "damaged" in caplog.text
        assert [key async for key in store.keys(SCOPE, "session")] in ([], ["k"])
        await store.put(SCOPE, "session", "k", {"text": "again"}, expect=ABSENT)
        found = await store.get(SCOPE, "session", "k")
    assert found is not None
    assert found.value == {"text": "again"}


async def test_a_file_moved_to_another_scope_is_not_read_there(tmp_path: Path) -> None:
    async with FileStateStore(tmp_path) as store:
        await store.put(SCOPE, "session", "k", {"n": 1})
        (annes,) = files(tmp_path)
        await store.put(Scope("user:bob"), "session", "k", {"n": 2})
        (bobs,) = (path for path in files(tmp_path) if path != annes)
        bobs.write_bytes(annes.read_bytes())
        assert await store.get(Scope("user:bob"), "session", "k") is None
        assert [key async for key in store.keys(Scope("user:bob"), "session")] == []


async def test_values_outlive_the_store_object(tmp_path: Path) -> None:
    async with FileStateStore(tmp_path) as store:
        etag = await store.put(SCOPE, "session", "k", {"n": 1})
    async with FileStateStore(tmp_path) as store:
        assert await store.put(SCOPE, "session", "k", {"n": 2}, expect=etag)


async def test_no_increment_is_lost_among_processes(tmp_path: Path) -> None:
    command = (sys.executable, "-c", INCREMENTER, str(tmp_path))
    writers = [await asyncio.create_subprocess_exec(*command) for _ in range(3)]
    assert [await writer.wait() for writer in writers] == [0, 0, 0]
    async with FileStateStore(tmp_path) as store:
        found = await store.get(SCOPE, "counter", "k")
    assert found is not None
    assert found.value == {"count": 60}


async def test_a_disk_that_refuses_is_unavailable_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    store = FileStateStore(tmp_path / "state")
    for call in (
        store.put(SCOPE, "session", "k", {"n": 1}),
        store.get(SCOPE, "session", "k"),
    ):
        with pytest.raises(StateUnavailable) as caught:
            await call
        assert str(tmp_path) not in str(caught.value)
        assert caught.value.__suppress_context__
    await store.aclose()


async def test_a_cancelled_write_does_not_land_on_a_later_one(tmp_path: Path) -> None:
    async with FileStateStore(tmp_path) as store:
        for _ in range(20):
            first = asyncio.ensure_future(store.put(SCOPE, "session", "k", {"n": 1, "text": "x" * 500_000}))
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await store.put(SCOPE, "session", "k", {"n": 2})
            found = await store.get(SCOPE, "session", "k")
            assert found is not None
            assert found.value == {"n": 2}


async def test_values_past_their_lifetime_leave_the_disk(tmp_path: Path) -> None:
    now = 1_000_000.0
    async with FileStateStore(tmp_path, ttl=60, clock=lambda: now) as store:
        await store.put(SCOPE, "session", "old", {"n": 1})
        now += 50
        await store.put(SCOPE, "session", "new", {"n": 1})
        now += 20
        await store.sweep()
        assert len(files(tmp_path)) == 1
        now += 100
        await store.sweep()
        assert not files(tmp_path)
        await store.put(SCOPE, "session", "again", {"n": 1}, expect=ABSENT)
