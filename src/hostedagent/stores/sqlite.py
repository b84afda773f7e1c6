"""Records in one SQLite file: the durable store of one machine, for one process at a time.

The file is in WAL mode with `synchronous=FULL`, so a reported write is on the disk. One thread writes; calls that wait
while it is busy share the next transaction, and each of them is atomic. Another thread reads. Each record has a
checksum: a damaged one counts as absent. Erased content is overwritten in the file (`secure_delete`), and the
write-ahead log is emptied before the erasure is reported.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sqlite3
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, Self, TypeAlias, TypeVar

from hostedagent.identity import Caller
from hostedagent.stores.base import ABSENT, DEFAULT_TTL, Etag, Key, Record, StoreConflict, StoreUnavailable, Write
from hostedagent.stores.sqlite_file import code_of, connect, lock_file

logger = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 60.0
"""Seconds between erasures of expired records."""

_MAX_GROUP: Final = 64
_SWEEP_ROWS: Final = 500
_UPSERT: Final = """
INSERT INTO records (key, etag, checksum, expires_at, value) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET
    etag = excluded.etag, checksum = excluded.checksum, expires_at = excluded.expires_at, value = excluded.value
"""

_FAILURES: Final = (sqlite3.Error, MemoryError, OverflowError)

_Place: TypeAlias = bytes
_T = TypeVar("_T")


class SqliteStore:
    """A `Store` in a file.

    Args:
        path: The file; created, with its folder, for this user only.
        retention: Seconds that a record lives after its last write.
        clock: The time of day in seconds.

    Raises:
        ConfigurationError: The file cannot be opened, is damaged, or is open in another process.
    """

    is_transactional = True

    def __init__(
        self, path: str | os.PathLike[str], *, retention: float = DEFAULT_TTL, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = Path(path).absolute()
        self._retention = retention
        self._clock = clock
        self._opening = threading.Lock()
        self._opened: _OpenFile | None = None
        self._open()

    async def read(self, caller: Caller, keys: Sequence[Key]) -> list[Record | None]:
        """The records in the order of the keys; raises `StoreUnavailable` when the file cannot be read."""
        places = [bytes.fromhex(caller.scope.key(*key)) for key in keys]
        return await _finished(self._open().read(places, self._clock()))

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        """Write all records to the disk, or none.

        Raises:
            StoreConflict: An `expect` does not match.
            StoreUnavailable: The file cannot be written: the disk is full, or the file is read-only.
        """
        now = self._clock()
        rows = [
            _Row(
                bytes.fromhex(caller.scope.key(*write.key)),
                write.key.kind,
                write.expect,
                write.value,
                now + (self._retention if write.ttl is None else write.ttl),
            )
            for write in writes
        ]
        return await _finished(self._open().write(rows, now))

    async def delete(self, caller: Caller, keys: Sequence[Key], *, expect: Etag | None = None) -> None:
        """Erase the records, also from the write-ahead log."""
        await self.write(caller, [Write(key, None, expect) for key in keys])

    async def sweep(self) -> None:
        """Erase expired records now; it also happens every minute while the store is written."""
        while await _finished(self._open().sweep(self._clock())):
            pass

    async def aclose(self) -> None:
        """Finish the pending calls and close the file. The store opens it again on the next use."""
        with self._opening:
            opened, self._opened = self._opened, None
        if opened is not None:
            await asyncio.to_thread(opened.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _open(self) -> _OpenFile:
        with self._opening:
            if self._opened is None:
                self._opened = _OpenFile(self._path)
            return self._opened


class _Row(NamedTuple):
    place: _Place
    kind: str
    expect: Etag | None
    value: bytes | None
    expires_at: float


class _Job(NamedTuple):
    """A call that waits for the writing thread."""

    rows: Sequence[_Row]
    now: float
    answer: Future[list[Etag]]


class _OpenFile:
    """The open file: its lock, its two connections and the thread of each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = lock_file(path)
        try:
            self._writer = connect(path)
            self._reader = connect(path, checks=False)
        except BaseException:
            self._lock.release()
            raise
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="hostedagent-sqlite-write")
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="hostedagent-sqlite-read")
        self._jobs: deque[_Job] = deque()
        self._damaged: set[_Place] = set()
        self._owes_checkpoint = False
        self._next_sweep = 0.0

    def read(self, places: Sequence[_Place], now: float) -> Future[list[Record | None]]:
        return self._reading.submit(_guarded, lambda: [self._find(self._reader, place, now) for place in places])

    def write(self, rows: Sequence[_Row], now: float) -> Future[list[Etag]]:
        job = _Job(rows, now, Future())
        self._jobs.append(job)
        self._writing.submit(self._work)
        return job.answer

    def sweep(self, now: float) -> Future[bool]:
        return self._writing.submit(_guarded, lambda: self._sweep(now))

    def close(self) -> None:
        self._writing.shutdown()
        self._reading.shutdown()
        self._reader.close()
        self._writer.close()
        self._lock.release()

    def _find(self, connection: sqlite3.Connection, place: _Place, now: float) -> Record | None:
        try:
            found = connection.execute(
                "SELECT etag, checksum, value FROM records WHERE key = ? AND expires_at > ?", (place, now)
            ).fetchone()
        except sqlite3.DatabaseError as error:
            if code_of(error) != sqlite3.SQLITE_CORRUPT:
                raise
            found = ("", None, b"")
        if found is None:
            return None
        etag, checksum, value = found
        if isinstance(etag, str) and isinstance(value, bytes) and checksum == _checksum(place, value):
            return Record(value, etag)
        if place not in self._damaged:
            self._damaged.add(place)
            logger.warning("A record of %s is damaged; it counts as absent.", self._path)
        return None

    def _work(self) -> None:
        """Run the waiting calls, in one transaction if that succeeds."""
        jobs: list[_Job] = []
        while self._jobs and len(jobs) < _MAX_GROUP:
            job = self._jobs.popleft()
            if job.answer.set_running_or_notify_cancel():
                jobs.append(job)
        if not jobs:
            return
        try:
            answers = self._transact(jobs)
        except _FAILURES as error:
            if len(jobs) == 1:
                jobs[0].answer.set_exception(_unavailable(error))
            else:  # One of them cannot be written; the others must not fail with it.
                self._work_singly(jobs)
            return
        for job, answer in zip(jobs, answers, strict=True):
            if isinstance(answer, StoreConflict):
                job.answer.set_exception(answer)
            else:
                job.answer.set_result(answer)
        if jobs[-1].now >= self._next_sweep:
            self._next_sweep = jobs[-1].now + SWEEP_SECONDS
            self._writing.submit(self._sweep_quietly, jobs[-1].now)

    def _work_singly(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            try:
                (answer,) = self._transact([job])
            except _FAILURES as error:
                answer = _unavailable(error)
            if isinstance(answer, list):
                job.answer.set_result(answer)
            else:
                job.answer.set_exception(answer)

    def _transact(self, jobs: Sequence[_Job]) -> list[list[Etag] | StoreConflict]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            answers = [self._apply(job) for job in jobs]
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        self._checkpoint()
        return answers

    def _apply(self, job: _Job) -> list[Etag] | StoreConflict:
        for row in job.rows:
            if row.expect is None:
                continue
            record = self._find(self._writer, row.place, job.now)
            if (record.etag if record is not None else ABSENT) != row.expect:
                return StoreConflict(f"The record of kind {row.kind!r} changed since it was read.")
        return [self._put(row) for row in job.rows]

    def _put(self, row: _Row) -> Etag:
        if row.value is None:
            erased = self._writer.execute("DELETE FROM records WHERE key = ?", (row.place,)).rowcount
            self._owes_checkpoint = self._owes_checkpoint or erased > 0
            return ABSENT
        etag = secrets.token_hex(8)
        values = (row.place, etag, _checksum(row.place, row.value), row.expires_at, row.value)
        self._writer.execute(_UPSERT, values)
        self._damaged.discard(row.place)
        return etag

    def _checkpoint(self) -> None:
        """Empty the write-ahead log after an erasure, because it still contains the content."""
        if not self._owes_checkpoint:
            return
        try:
            (is_busy, _, _) = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            logger.warning("The log of %s could not be emptied and is tried again later: %s", self._path, error)
            return
        self._owes_checkpoint = bool(is_busy)

    def _sweep_quietly(self, now: float) -> None:
        try:
            if self._sweep(now):  # The rest after the calls that wait.
                self._writing.submit(self._sweep_quietly, now)
        except sqlite3.Error as error:
            logger.warning("The expired records of %s could not be erased: %s", self._path, error)

    def _sweep(self, now: float) -> bool:
        """Erase some expired records; returns whether there may be more."""
        erased = self._writer.execute(
            "DELETE FROM records WHERE rowid IN (SELECT rowid FROM records WHERE expires_at <= ? LIMIT ?)",
            (now, _SWEEP_ROWS),
        ).rowcount
        self._owes_checkpoint = self._owes_checkpoint or erased > 0
        if erased < _SWEEP_ROWS:
            self._checkpoint()
        return erased == _SWEEP_ROWS


def _checksum(place: _Place, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(place))


async def _finished(job: Future[_T]) -> _T:
    answer = asyncio.wrap_future(job)
    try:
        return await asyncio.shield(answer)
    except asyncio.CancelledError:
        # A started write is awaited, so that it cannot overwrite a later one of its caller.
        if not job.cancel():
            await asyncio.wait([answer])
        raise


def _guarded(call: Callable[[], _T]) -> _T:
    try:
        return call()
    except _FAILURES as error:
        raise _unavailable(error) from None


def _unavailable(error: Exception) -> StoreUnavailable:
    # The cause is dropped: callers are shown an error by its cause, and its text contains the path.
    logger.warning("The database failed: %s: %s", type(error).__name__, error)
    return StoreUnavailable("The database cannot be read or written.")
