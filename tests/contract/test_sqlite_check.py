"""The check for damage of a `SqliteStore`'s file: for a limited time, and of everything that it reaches in it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from hostedagent.errors import ConfigurationError
from hostedagent.identity import Caller
from hostedagent.stores import sqlite_file
from hostedagent.stores.base import Key, Write
from hostedagent.stores.sqlite import SqliteStore

MANY = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
    "SELECT CAST(printf('%06d', i) AS BLOB), 'e', 0, 1.0, x'00' FROM n"
)
"""Five thousand records that have expired."""


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    await SqliteStore(path).aclose()
    connection = sqlite3.connect(path)
    connection.execute(f"INSERT INTO records {MANY}")
    connection.commit()
    connection.close()
    return path


async def test_damage_at_the_end_of_many_records_is_found(path: Path) -> None:
    forbid, allow = "value BLOB NOT NULL", "value BLOB"
    for old, new in ((forbid, allow), (allow, forbid)):
        connection = sqlite3.connect(path)
        connection.execute("UPDATE records SET value = NULL WHERE rowid = 5000 AND ? = ?", (new, forbid))
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, ?, ?)", (old, new))
        connection.commit()
        connection.close()
    with pytest.raises(ConfigurationError, match=r"is damaged \(NULL value in records.value\)"):
        SqliteStore(path)


async def test_a_check_that_was_cut_short_ends_no_later_statement(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite_file, "CHECK_SECONDS", 0.0)
    async with SqliteStore(path, clock=lambda: 10.0) as store:
        await store.sweep()
        await store.write(Caller(), [Write(Key("session", "k"), b"after the sweep")])
    assert caplog.records == []
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM records").fetchone() == (1,)
    connection.close()
