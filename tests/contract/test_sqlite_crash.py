from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hostedagent.identity import Caller, Scope
from hostedagent.stores.base import ABSENT, Key, StoreConflict, Write
from hostedagent.stores.sqlite import SqliteStore

KILLS = 30
ANN = Caller(Scope("user:ann"))
NAMES = ["a", "b", "c"]

WRITER = """
import asyncio, json, sys
from hostedagent.identity import Caller, Scope
from hostedagent.stores.base import ABSENT, Key, Write
from hostedagent.stores.sqlite import SqliteStore

async def main(path):
    store, ann = SqliteStore(path), Caller(Scope("user:ann"))
    while True:
        for name in ("a", "b", "c"):
            key = Key("session", name)
            (found,) = await store.read(ann, [key])
            number = json.loads(found.value)["number"] + 1 if found else 0
            value = json.dumps({"number": number, "text": f"{number}," * 20000}).encode()
            print(json.dumps([name, number]), flush=True)
            # What belongs together is written together.
            pair = Write(Key("pair", name), b"%d" % number)
            await store.write(ann, [Write(key, value, found.etag if found else ABSENT), pair])
            print(json.dumps([name, number, "saved"]), flush=True)
            await store.write(ann, [Write(Key("short", f"{name}{number % 7}"), b"1")])
            await store.delete(ann, [Key("short", f"{name}{(number + 3) % 7}")])

asyncio.run(main(sys.argv[1]))
"""


def files_in(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def announce_and_kill(path: Path, lines: int) -> tuple[dict[str, int], dict[str, int]]:
    """Run the writer for some lines and kill it; the last number announced, and the last reported saved, by name."""
    announced: dict[str, int] = {}
    saved: dict[str, int] = {}

    def note(line: str) -> None:
        name, number, *is_saved = json.loads(line)
        (saved if is_saved else announced)[name] = number

    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(lines):
            note(writer.stdout.readline())
        writer.kill()
        # What it reported between our last read and its death.
        for line in writer.stdout:
            if line.endswith("\n"):
                note(line)
    return announced, saved


async def test_a_killed_writer_loses_nothing_that_it_reported_and_keeps_nothing_by_halves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(7)
    path = tmp_path / "state.db"
    announced: dict[str, int] = {}
    saved: dict[str, int] = {}
    for _ in range(KILLS):
        more_announced, more_saved = await asyncio.to_thread(announce_and_kill, path, chance.randint(1, 18))
        announced |= more_announced
        saved |= more_saved
        async with SqliteStore(path) as store:
            for name in NAMES:
                record, pair = await store.read(ANN, [Key("session", name), Key("pair", name)])
                if record is None:
                    assert name not in saved and pair is None
                    continue
                value = json.loads(record.value)
                assert saved.get(name, 0) <= value["number"] <= announced[name]
                assert value["text"] == f"{value['number']}," * 20000
                assert pair is not None and int(pair.value) == value["number"]
    assert "damaged" not in caplog.text
    assert max(announced.values()) > KILLS
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    assert files_in(tmp_path) == {"state.db", "state.db.lock"}, "nothing is left behind"


async def test_compare_and_set_works_after_a_kill(tmp_path: Path) -> None:
    path, key = tmp_path / "state.db", Key("session", "a")
    for lines in range(1, 6):
        await asyncio.to_thread(announce_and_kill, path, lines)
        async with SqliteStore(path) as store:
            (found,) = await store.read(ANN, [key])
            etag = found.etag if found is not None else ABSENT
            number = json.loads(found.value)["number"] if found is not None else -1
            (written,) = await store.write(ANN, [Write(key, json.dumps({"number": number + 1}).encode(), etag)])
            with pytest.raises(StoreConflict):
                await store.write(ANN, [Write(key, b"{}", etag)])
            assert written != etag
