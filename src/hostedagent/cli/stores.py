"""The stores that `hostedagent run --store` names."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hostedagent.platform import DSN_VARIABLE

if TYPE_CHECKING:
    from hostedagent.stores.factory import Stores

SQLITE_FILE: Final = ".hostedagent/state.db"
"""The file, below the current folder, of `--store sqlite`."""

POSTGRES_FOLDER: Final = ".hostedagent/postgres"
"""The folder, below the current one, of the PostgreSQL that `--store postgres` starts where no DSN is given."""


def stores_maker(kind: str | None, agent: str | None = None) -> Callable[[], Stores] | None:
    """A function that creates the stores of a kind; `None` for the default of the host.

    Args:
        agent: The agent whose data are kept apart from those of others in the process; `None` for the only one.
    """
    from hostedagent.stores.factory import foundry_stores, memory_stores, postgres_stores, sqlite_stores

    match kind:
        case "memory":
            return memory_stores
        case "sqlite":
            file = Path(SQLITE_FILE)
            return lambda: sqlite_stores(file if agent is None else file.with_name(f"{agent}.db"))
        case "postgres":
            schema = "hostedagent" if agent is None else _schema(agent)
            return lambda: postgres_stores(os.environ.get(DSN_VARIABLE) or embedded_dsn(), schema=schema)
        case "foundry":
            return lambda: foundry_stores(agent=agent)
        case _:
            return None


def _schema(agent: str) -> str:
    """The schema of an agent: its name, where that is one; otherwise with a hash, for no two names become the same."""
    name = re.sub(r"[^a-z0-9_]", "_", agent)[:30]
    if name != agent:
        name = f"{name}_{hashlib.sha256(agent.encode()).hexdigest()[:12]}"
    return f"hostedagent_{name}"


def embedded_dsn() -> str:
    """The database of the PostgreSQL in the current folder, which is started where it does not run."""
    from hostedagent.stores.postgres.embedded import start

    return start(POSTGRES_FOLDER).dsn
