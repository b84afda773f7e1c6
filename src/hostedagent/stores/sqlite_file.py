"""Opens the SQLite file of a `SqliteStore`: locked, private, of the right schema, and checked for damage."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from hostedagent.errors import ConfigurationError

CHECK_SECONDS: Final = 2.0
"""Seconds that the file is checked for damage when it is opened."""

SCHEMA_VERSION: Final = 1

_APPLICATION_ID: Final = 0x68616774
_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS records (
    key BLOB NOT NULL PRIMARY KEY,
    etag TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    expires_at REAL NOT NULL,
    value BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS records_by_expiry ON records (expires_at);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""

_WRITABLE: Final = "This process must be able to write to the file and to its folder, and the volume needs file locks."


def code_of(error: sqlite3.Error) -> int | None:
    """The primary result code of SQLite; errors of the Python module itself have none."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def lock_file(path: Path) -> FileLock:
    """The lock of the process that has the file open; the operating system releases it when the process dies."""
    lock = FileLock(f"{path}.lock", timeout=0, mode=0o600, thread_local=False)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise ConfigurationError(
            f"The database {path} is open in another process. Stop that process, choose another file, or use a store "
            "that several processes can share."
        ) from None
    except (OSError, NotImplementedError) as error:
        raise ConfigurationError(f"The database {path} cannot be locked: {error}. {_WRITABLE}") from None
    return lock


def connect(path: Path, *, checks: bool = True) -> sqlite3.Connection:
    """Open the file, creating it with its schema when it does not exist.

    Raises:
        ConfigurationError: It cannot be opened, is damaged, or belongs to another application.
    """
    try:
        path.touch(mode=0o600)
        connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(f"The database {path} cannot be opened: {error}. {_WRITABLE}") from None
    try:
        _prepare(connection, path)
        if checks:
            _check(connection, path)
    except sqlite3.DatabaseError as error:
        connection.close()
        if code_of(error) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise ConfigurationError(f"The database {path} cannot be opened: {error}. {_WRITABLE}") from None
        raise _damaged(path, str(error)) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != _APPLICATION_ID and tables:
        raise ConfigurationError(f"The file {path} is a database of another application. Choose another file.")
    if version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"The database {path} was written by a later version of hostedagent (schema {version}, this version reads "
            f"up to {SCHEMA_VERSION}). Use that version, or choose another file."
        )
    if not tables:
        connection.executescript(_SCHEMA)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Check the file for damage, for a limited time."""
    deadline = time.monotonic() + CHECK_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    try:
        (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if code_of(error) != sqlite3.SQLITE_INTERRUPT:
            raise
        return
    finally:
        connection.set_progress_handler(None, 0)
    if finding != "ok":
        raise _damaged(path, finding.splitlines()[0])


def _damaged(path: Path, finding: str) -> ConfigurationError:
    return ConfigurationError(
        f"The database {path} is damaged ({finding}). Restore a backup; or recover what can be read with "
        f"`sqlite3 {path} .recover | sqlite3 recovered.db`; or move the file away to start with an empty one."
    )
