"""State in files of one machine: a file for each value, shared safely by tasks, threads and processes.

A value is written to a temporary file, flushed to the disk, and renamed over the old one, so whoever reads, and
whoever starts after a kill at any point, finds the old value or the new one. Writers of one kind exclude each other by
a lock that the system releases when they die. Folder and file names are hashes: no caller's string is part of a path;
the key stands in the file's first line. Calls block a few threads of the store, never the event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar, cast

from hostedagent.identity import Scope
from hostedagent.stores.atomic import flush_folder, make_folder, write_atomically
from hostedagent.stores.base import (
    ABSENT,
    DEFAULT_TTL,
    Etag,
    StateConflict,
    StateUnavailable,
    Value,
    Versioned,
    value_to_json,
)
from hostedagent.stores.file_lock import locked

logger = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 3600.0
"""How often values past their lifetime, and what killed writers left, are removed."""

_THREADS: Final = 4
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Header:
    """The first line of a file: what the value below it is."""

    place: str
    key: str
    etag: Etag
    expires_at: float
    digest: str


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value lives: the folder of its scope and kind, and its name in it."""

    folder: str
    name: str


class FileStateStore:
    """A `StateStore` in a folder.

    Args:
        root: The folder; made, for the user only, when the first value is written.
        ttl: Seconds that a value lives after its last write.
        clock: The time of day in seconds; lifetimes outlive the process.

    Call `aclose()`, or use it in `async with`, to wait for what is being written.
    """

    def __init__(
        self, root: str | os.PathLike[str], *, ttl: float = DEFAULT_TTL, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder = _Folder(Path(root), ttl, clock)
        self._clock = clock
        self._next_sweep = float("-inf")
        self._threads: ThreadPoolExecutor | None = None

    async def get(self, scope: Scope, kind: str, key: str) -> Versioned | None:
        """The value, or `None`; a damaged file counts as none, with a warning in the log.

        Raises:
            StateUnavailable: The file cannot be read.
        """
        place = _place(scope, kind, key)
        return await self._run(lambda: self._folder.read(place))

    async def put(self, scope: Scope, kind: str, key: str, value: Value, *, expect: Etag | None = None) -> Etag:
        """Write to the disk, and return the new etag.

        Raises:
            StateConflict: `expect` does not stand.
            StateTooLarge: The value is larger than `MAX_VALUE_BYTES`.
            StateUnavailable: The file cannot be written.
        """
        text, place = value_to_json(kind, value), _place(scope, kind, key)
        etag = await self._run(lambda: self._folder.write(place, key, text, expect))
        if self._clock() >= self._next_sweep:
            self._next_sweep = self._clock() + SWEEP_SECONDS
            self._pool().submit(self._folder.sweep_quietly)
        return etag

    async def delete(self, scope: Scope, kind: str, key: str, *, expect: Etag | None = None) -> None:
        """Remove the value; nothing happens when there is none.

        Raises:
            StateConflict: `expect` does not stand.
            StateUnavailable: The file cannot be removed.
        """
        place = _place(scope, kind, key)
        await self._run(lambda: self._folder.remove(place, expect))

    async def keys(self, scope: Scope, kind: str) -> AsyncIterator[str]:
        """The keys of a kind, in no order."""
        folder = scope.key(kind)
        for key in await self._run(lambda: self._folder.keys(folder)):
            yield key

    async def sweep(self) -> None:
        """Remove now what is removed every hour: values past their lifetime, and what killed writers left."""
        await self._run(self._folder.sweep)

    async def aclose(self) -> None:
        """Wait for the writes under way. The store opens again when it is used again."""
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.to_thread(threads.shutdown)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _pool(self) -> ThreadPoolExecutor:
        # Its own threads: a writer that waits for another process's lock must not hold up the application's.
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="hostedagent-state")
        return self._threads

    async def _run(self, call: Callable[[], _T]) -> _T:
        job = self._pool().submit(call)
        answer = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            # A write that has begun is waited for: it must not land on top of one that its caller starts after it.
            if not job.cancel():
                await asyncio.wait([answer])
            raise
        except OSError as error:
            # The path stands in the error's text, and the cause of a failure decides what a caller is told.
            logger.warning("The state files are not usable: %s", type(error).__name__, exc_info=True)
            raise StateUnavailable("The state files cannot be read or written.") from None


class _Folder:
    """The blocking half: every method runs in a thread."""

    def __init__(self, root: Path, ttl: float, clock: Callable[[], float]) -> None:
        self._root = root
        self._ttl = ttl
        self._clock = clock

    def read(self, place: _Place) -> Versioned | None:
        header, body = self._load(place)
        if header is None:
            return None
        return Versioned(cast("Value", json.loads(body)), header.etag)

    def write(self, place: _Place, key: str, text: str, expect: Etag | None) -> Etag:
        body = text.encode("ascii")
        with self._lock(place.folder):
            self._check(place, expect)
            header = _Header(
                place.name, key, uuid.uuid4().hex, self._clock() + self._ttl, hashlib.sha256(body).hexdigest()
            )
            self._replace(place, json.dumps(asdict(header)).encode("ascii") + b"\n" + body)
        return header.etag

    def remove(self, place: _Place, expect: Etag | None) -> None:
        if not self._path(place.folder).is_dir():
            if expect:
                raise StateConflict("The value is gone.")
            return
        with self._lock(place.folder):
            self._check(place, expect)
            self._file(place).unlink(missing_ok=True)
            flush_folder(self._path(place.folder))

    def keys(self, folder: str) -> list[str]:
        now = self._clock()
        headers = ((path.stem, _header(_first_line(path))) for path in _files(self._path(folder), ".json"))
        return [
            header.key
            for place, header in headers
            if header is not None and header.place == place and header.expires_at > now
        ]

    def sweep_quietly(self) -> None:
        try:
            self.sweep()
        except OSError:
            logger.warning("The state files could not be swept.", exc_info=True)

    def sweep(self) -> None:
        for folder in _folders(self._root):
            with self._lock(folder.name):
                # Under the lock nobody is writing here, so that every temporary file has lost its writer.
                for torn in _files(folder, ".tmp"):
                    torn.unlink()
                kept = [file for file in _files(folder, ".json") if not self._unlink_expired(file)]
                if not kept and folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()

    def _unlink_expired(self, file: Path) -> bool:
        header = _header(_first_line(file))
        # A damaged file, or one of a later version, stays as long as a value would.
        expires_at = header.expires_at if header is not None else file.stat().st_mtime + self._ttl
        if expires_at > self._clock():
            return False
        file.unlink()
        return True

    def _load(self, place: _Place) -> tuple[_Header | None, bytes]:
        try:
            content = self._file(place).read_bytes()
        except FileNotFoundError:
            return None, b""
        line, _, body = content.partition(b"\n")
        header = _header(line)
        if header is None or header.place != place.name or header.digest != hashlib.sha256(body).hexdigest():
            logger.warning("The state file %s is damaged; its value counts as absent.", place.name)
            return None, b""
        return (header, body) if header.expires_at > self._clock() else (None, b"")

    def _check(self, place: _Place, expect: Etag | None) -> None:
        if expect is None:
            return
        header, _ = self._load(place)
        if (header.etag if header is not None else ABSENT) != expect:
            raise StateConflict("The value changed since it was read.")

    def _replace(self, place: _Place, content: bytes) -> None:
        write_atomically(self._file(place), content)

    def _lock(self, folder: str) -> AbstractContextManager[None]:
        locks = self._root / "locks"
        make_folder(locks)
        return locked(locks / f"{folder[:2]}.lock")

    def _path(self, folder: str) -> Path:
        return self._root / "values" / folder[:2] / folder

    def _file(self, place: _Place) -> Path:
        return self._path(place.folder) / f"{place.name}.json"


def _place(scope: Scope, kind: str, key: str) -> _Place:
    return _Place(scope.key(kind), scope.key(kind, key))


def _header(line: bytes) -> _Header | None:
    """What a first line says, or `None` when it is damaged."""
    try:
        fields: Any = json.loads(line)
        return _Header(
            str(fields["place"]),
            str(fields["key"]),
            str(fields["etag"]),
            float(fields["expires_at"]),
            str(fields["digest"]),
        )
    except (ValueError, TypeError, KeyError):
        return None


def _first_line(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.readline()
    except FileNotFoundError:
        return b""


def _folders(root: Path) -> Iterator[Path]:
    shelves = root / "values"
    if shelves.is_dir():
        for shelf in list(shelves.iterdir()):
            yield from list(shelf.iterdir())


def _files(folder: Path, suffix: str) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.suffix == suffix]
    except FileNotFoundError:
        return []
