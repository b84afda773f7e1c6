from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from hostedagent.identity import Scope
from hostedagent.stores.base import ABSENT, StateConflict
from hostedagent.stores.file import FileStateStore

KILLS = 30
SCOPE = Scope("user:ann")
NAMES = ["a", "b", "c"]

WRITER = """
import asyncio, json, sys
from hostedagent.identity import Scope
from hostedagent.stores.file import FileStateStore
from hostedagent.stores.base import ABSENT

async def main(root):
    store, scope = FileStateStore(root), Scope("user:ann")
    number = 0
    while True:
        for name in ("a", "b", "c"):
            found = await store.get(scope, "session", name)
            number = found.value["number"] + 1 if found else 0
            value = {"number": number, "text": f"{number}," * 20000}
            print(json.dumps([name, number]), flush=True)
            await store.put(scope, "session", name, value, expect=found.etag if found else ABSENT)
            await store.put(scope, "short", f"{name}{number % 7}", {"number": number})
            await store.delete(scope, "short", f"{name}{(number + 3) % 7}")

asyncio.run(main(sys.argv[1]))
"""


def files(root: Path, pattern: str = "*.json") -> list[Path]:
    return list(root.rglob(pattern))


def announce_and_kill(root: Path, lines: int) -> dict[str, int]:
    """Run the writer until it announced `lines` writes, kill it, and tell the last number announced for each name."""
    announced: dict[str, int] = {}
    with subprocess.Popen([sys.executable, "-c", WRITER, str(root)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(lines):
            name, number = json.loads(writer.stdout.readline())
            announced[name] = number
        writer.kill()
        # What it announced between our last read and its death.
        for line in writer.stdout:
            if line.endswith("\n"):
                name, number = json.loads(line)
                announced[name] = number
    return announced


async def test_a_killed_writer_leaves_the_old_value_or_the_new_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(7)
    root = tmp_path / "state"
    announced: dict[str, int] = {}
    for _ in range(KILLS):
        announced |= announce_and_kill(root, chance.randint(1, 9))
        async with FileStateStore(root) as store:
            for name in NAMES:
                found = await store.get(SCOPE, "session", name)
                number = announced.get(name)
                if found is None:
                    assert number in (None, 0)
                    continue
                assert number is not None
                kept = found.value["number"]
                assert kept in (number - 1, number)
                assert found.value["text"] == f"{kept}," * 20000
    assert "damaged" not in caplog.text
    assert max(announced.values()) > KILLS


async def test_compare_and_set_works_after_a_kill(tmp_path: Path) -> None:
    root = tmp_path / "state"
    for lines in range(1, 6):
        announce_and_kill(root, lines)
        async with FileStateStore(root) as store:
            found = await store.get(SCOPE, "session", "a")
            etag = found.etag if found is not None else ABSENT
            number = found.value["number"] if found is not None else -1
            written = await store.put(SCOPE, "session", "a", {"number": number + 1}, expect=etag)
            with pytest.raises(StateConflict):
                await store.put(SCOPE, "session", "a", {"number": 0}, expect=etag)
            # The writer that comes next reads this one.
            assert written != etag


async def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    async with FileStateStore(tmp_path) as store:
        await store.put(SCOPE, "session", "a", {"n": 1})
        await store.put(SCOPE, "other", "a", {"n": 1})
        await store.delete(SCOPE, "other", "a")
    (value,) = files(tmp_path)
    torn = value.with_suffix(".tmp")
    torn.write_bytes(value.read_bytes()[:20])
    value.with_name("0" * 64 + ".tmp").write_bytes(b"")
    async with FileStateStore(tmp_path) as store:
        assert [key async for key in store.keys(SCOPE, "session")] == ["a"]
        await store.sweep()
        found = await store.get(SCOPE, "session", "a")
    assert found is not None
    assert not files(tmp_path, "*.tmp")
    assert {path.parent for path in files(tmp_path)} == {value.parent}
    assert [folder for folder in (tmp_path / "values").glob("*/*") if folder != value.parent] == []
