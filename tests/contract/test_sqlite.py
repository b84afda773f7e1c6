"""What the file of a `SqliteStore` is: private, exclusive, checked, repaired by writing, and without erased words."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hostedagent.errors import ConfigurationError
from hostedagent.identity import Caller, Scope
from hostedagent.stores.base import ABSENT, Key, Record, StoreUnavailable, Write
from hostedagent.stores.sqlite import SqliteStore

ANN = Caller(Scope("user:ann"))
K = Key("session", "k")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(path) as store:
        yield store


async def put(store: SqliteStore, value: bytes, key: Key = K) -> str:
    (etag,) = await store.write(ANN, [Write(key, value)])
    return etag


async def get(store: SqliteStore, key: Key = K) -> Record | None:
    (record,) = await store.read(ANN, [key])
    return record


def contents(path: Path) -> bytes:
    """All bytes of the database and of its log."""
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def change(path: Path, statement: str, *values: object) -> None:
    """Change the file from outside, as a damaged disk or a curious person would."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement, values)
    connection.close()


async def run(program: str, path: Path) -> tuple[int | None, str, str]:
    """Run a program on the file in a process of its own: its exit code, output and errors."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(path), stdout=pipe, stderr=pipe)
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


def size_of(path: Path) -> int:
    return path.stat().st_size


def overwrite(path: Path, content: bytes, *, at: int = 0) -> None:
    with path.open("r+b" if path.exists() else "wb") as file:
        file.seek(at)
        file.write(content)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
async def test_only_the_user_can_read_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    async with SqliteStore(folder / "state.db") as store:
        await put(store, b"1")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert modes == dict.fromkeys(("state.db", "state.db-wal", "state.db-shm", "state.db.lock"), 0o600)


async def test_records_outlive_the_store_object(path: Path) -> None:
    async with SqliteStore(path) as store:
        etag = await put(store, b"1")
    async with SqliteStore(path) as store:
        assert await get(store) == Record(b"1", etag)


async def test_a_closed_store_opens_again_when_it_is_used(store: SqliteStore) -> None:
    etag = await put(store, b"1")
    await store.aclose()
    assert await get(store) == Record(b"1", etag)


async def test_a_write_is_synchronised_before_it_is_reported(path: Path, store: SqliteStore) -> None:
    await put(store, b"1")
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    _, output, _ = await run(OPTIONS, path.with_name("other.db"))
    assert output.split() == ["2", "1"], "synchronous=FULL and secure_delete=ON"


OPTIONS = """
import sqlite3, sys
from pathlib import Path
opened = []
real = sqlite3.connect
def connect(*args, **options):
    opened.append(real(*args, **options))
    return opened[-1]
sqlite3.connect = connect
from hostedagent.stores.sqlite import SqliteStore
SqliteStore(Path(sys.argv[1]))
print(opened[0].execute("PRAGMA synchronous").fetchone()[0], opened[0].execute("PRAGMA secure_delete").fetchone()[0])
"""


# --- one process at a time


async def test_a_second_process_is_refused_with_what_to_do(path: Path, store: SqliteStore) -> None:
    code, _, errors = await run("import sys; from hostedagent import sqlite_stores; sqlite_stores(sys.argv[1])", path)
    assert code != 0
    assert f"ConfigurationError: The database {path} is open in another process." in errors
    assert await put(store, b"1")


async def test_a_file_that_is_open_is_refused_without_waiting(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with pytest.raises(ConfigurationError, match="is open in another process"):
        SqliteStore(path)
    assert slept == []


async def test_the_lock_is_free_when_its_holder_was_killed(path: Path) -> None:
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLD, str(path), stdout=asyncio.subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"open\n"
        with pytest.raises(ConfigurationError, match="another process"):
            SqliteStore(path)
    finally:
        holder.kill()
        await holder.wait()
    async with SqliteStore(path) as store:
        assert await put(store, b"1")


HOLD = """
import sys, time
from hostedagent import sqlite_stores
stores = sqlite_stores(sys.argv[1])
print("open", flush=True)
time.sleep(600)
"""


# --- files that cannot be used


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    overwrite(path, b"This is a text, and a rather long one. " * 100)
    with pytest.raises(ConfigurationError, match=r"is damaged \(file is not a database\).*Restore a backup; or"):
        SqliteStore(path)
    assert contents(path).startswith(b"This is a text"), "somebody's file is left alone"


async def test_a_damaged_database_is_refused_with_the_way_out(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.write(ANN, [Write(Key("session", f"{n}"), os.urandom(3000)) for n in range(200)])
    overwrite(path, b"\xff" * (size_of(path) - 20_000), at=8192)
    with pytest.raises(ConfigurationError, match=r"is damaged \(.*recover"):
        SqliteStore(path)


async def test_the_database_of_another_application_is_refused(path: Path) -> None:
    change(path, "CREATE TABLE notes (text)")
    with pytest.raises(ConfigurationError, match="database of another application"):
        SqliteStore(path)


async def test_the_database_of_a_later_version_is_refused(path: Path) -> None:
    await SqliteStore(path).aclose()
    change(path, "PRAGMA user_version = 99")
    with pytest.raises(ConfigurationError, match="later version of hostedagent"):
        SqliteStore(path)


@pytest.mark.parametrize("name", ["no/such/state.db", "state.db"])
async def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    blocked = tmp_path / "file"
    overwrite(blocked, b"")
    with pytest.raises(ConfigurationError, match=r"cannot be locked: .* must be able to write"):
        SqliteStore(blocked / name)


async def test_a_refused_file_is_not_locked(path: Path) -> None:
    overwrite(path, b"not a database at all, but long enough to look at" * 50)
    with pytest.raises(ConfigurationError, match="damaged"):
        SqliteStore(path)
    os.truncate(path, 0)
    await SqliteStore(path).aclose()


# --- damage while it runs


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE records SET value = CAST('other' AS BLOB)",
        "UPDATE records SET value = x''",
        "UPDATE records SET value = 'a text'",
        "UPDATE records SET checksum = checksum + 1",
        "UPDATE records SET checksum = 'none'",
        "UPDATE records SET etag = x'ff'",
    ],
)
async def test_a_damaged_record_counts_as_absent_once_in_the_log_and_can_be_written_again(
    path: Path, store: SqliteStore, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    other = Key("session", "other")
    await put(store, b"hello")
    change(path, damage)
    etag = await put(store, b"sound", other)
    for _ in range(3):
        assert await store.read(ANN, [K, other]) == [None, Record(b"sound", etag)]
    assert caplog.text.count("is damaged") == 1
    (etag,) = await store.write(ANN, [Write(K, b"again", ABSENT)])
    assert await get(store) == Record(b"again", etag)


async def test_a_record_copied_to_another_key_is_not_read_there(path: Path, store: SqliteStore) -> None:
    other = Key("session", "other")
    await put(store, b"one")
    await put(store, b"two", other)
    place = bytes.fromhex(ANN.scope.key(*other))
    change(path, "UPDATE records SET (value, checksum) = (SELECT value, checksum FROM records WHERE key <> ?)", place)
    assert [record is None for record in await store.read(ANN, [K, other])] in ([True, False], [False, True])


async def test_a_full_disk_is_unavailable_and_recovers(path: Path) -> None:
    # The size of files is limited in a process of its own: the limit holds for all of its files.
    code, output, errors = await run(FULL_DISK, path)
    assert (code, output) == (0, "unavailable, readable, unharmed, recovered\n"), errors


FULL_DISK = """
import asyncio, os, resource, signal, sys
from hostedagent.identity import Caller, Scope
from hostedagent.stores.base import Key, StoreUnavailable, Write
from hostedagent.stores.sqlite import SqliteStore

ANN, LARGE = Caller(Scope("user:ann")), os.urandom(500_000)

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    found = []
    async with SqliteStore(sys.argv[1]) as store:
        await store.write(ANN, [Write(Key("a", "kept"), b"kept")])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        doomed = [store.write(ANN, [Write(Key("a", str(n)), LARGE)]) for n in range(3)]
        answers = await asyncio.gather(*doomed, return_exceptions=True)
        assert all(isinstance(answer, StoreUnavailable) for answer in answers), answers
        assert not any(sys.argv[1] in str(answer) for answer in answers)
        found.append("unavailable")
        records = await store.read(ANN, [Key("a", "kept"), Key("a", "0")])
        assert records[0].value == b"kept" and records[1] is None, records
        found.append("readable")
        small = await asyncio.gather(store.write(ANN, [Write(Key("a", "0"), LARGE)]),
                                     store.write(ANN, [Write(Key("a", "small"), b"small")]), return_exceptions=True)
        assert isinstance(small[0], StoreUnavailable) and isinstance(small[1], list), small
        found.append("unharmed")
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await store.write(ANN, [Write(Key("a", "0"), LARGE)])
        (record,) = await store.read(ANN, [Key("a", "0")])
        assert record.value == LARGE
        found.append("recovered")
    print(", ".join(found))

asyncio.run(main())
"""


async def test_a_file_that_fails_while_it_runs_is_unavailable_without_its_path(path: Path, store: SqliteStore) -> None:
    await put(store, b"1")
    change(path, "ALTER TABLE records RENAME TO gone")
    for call in (put(store, b"2"), get(store), store.delete(ANN, [K])):
        with pytest.raises(StoreUnavailable) as caught:
            await call
        assert str(path) not in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
    change(path, "ALTER TABLE gone RENAME TO records")
    await put(store, b"3")


# --- erasure and size


async def test_what_was_deleted_is_in_no_file(path: Path, store: SqliteStore) -> None:
    words = [f"secret-{n}-".encode() * 40 for n in range(50)]
    keys = [Key("session", f"{n}") for n in range(50)]
    await store.write(ANN, [Write(key, word) for key, word in zip(keys, words, strict=True)])
    assert all(word in contents(path) for word in words)
    await store.delete(ANN, keys[:49])
    assert [n for n, word in enumerate(words) if word[:20] in contents(path)] == [49]


async def test_what_was_replaced_is_in_no_file_after_a_delete(path: Path, store: SqliteStore) -> None:
    await put(store, b"the-first-words" * 500)
    await put(store, b"the-second-words")
    await store.write(ANN, [Write(K, None)])
    assert b"the-first-words" not in contents(path)
    assert b"the-second-words" not in contents(path)


async def test_expired_records_are_erased(path: Path) -> None:
    now = 1_000_000.0
    async with SqliteStore(path, retention=60, clock=lambda: now) as store:
        await store.write(ANN, [Write(Key("session", f"{n}"), b"the-old-words" * 10) for n in range(1200)])
        now += 50
        etag = await put(store, b"the-new-words")
        now += 20
        await store.sweep()
        await put(store, b"x", Key("session", "after the rest of the sweep"))
        assert b"the-old-words" not in contents(path)
        assert await get(store) == Record(b"the-new-words", etag)


async def test_a_record_may_have_a_shorter_lifetime(path: Path) -> None:
    now = 1_000_000.0
    async with SqliteStore(path, retention=60, clock=lambda: now) as store:
        await store.write(ANN, [Write(K, b"1", ttl=5), Write(Key("session", "other"), b"2")])
        now += 6
        assert [record is None for record in await store.read(ANN, [K, Key("session", "other")])] == [True, False]


async def test_the_file_does_not_grow_with_what_was_deleted(path: Path, store: SqliteStore) -> None:
    async def fill() -> int:
        keys = [Key("session", f"{n}") for n in range(100)]
        await store.write(ANN, [Write(key, os.urandom(5000)) for key in keys])
        await store.delete(ANN, keys)
        return size_of(path)

    first = await fill()
    assert [await fill() <= first * 1.1 for _ in range(4)] == [True] * 4


# --- order


async def test_a_cancelled_write_does_not_land_on_a_later_one(store: SqliteStore) -> None:
    for _ in range(20):
        first = asyncio.ensure_future(put(store, b"x" * 500_000))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        etag = await put(store, b"2")
        assert await get(store) == Record(b"2", etag)


async def test_calls_that_wait_share_a_transaction(store: SqliteStore, path: Path) -> None:
    await put(store, b"0")
    before = size_of(path.with_name("state.db-wal"))
    await asyncio.gather(*(put(store, b"%d" % n, Key("session", f"{n}")) for n in range(60)))
    pages = (size_of(path.with_name("state.db-wal")) - before) / 4120
    assert pages < 60, "60 transactions of their own would write two pages each"


@pytest.mark.parametrize("error", [NotImplementedError("no locks here"), OSError("no locks here")], ids=repr)
def test_a_volume_without_locks_is_a_mistake_of_the_configuration(
    error: Exception, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("hostedagent.stores.sqlite_file.FileLock.acquire", acquire)

    with pytest.raises(ConfigurationError, match=r"cannot be locked: .* must be able to write"):
        SqliteStore(path)
