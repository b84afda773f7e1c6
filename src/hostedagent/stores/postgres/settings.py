"""Connection settings of the database, with error messages that never contain a password."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from psycopg import AsyncConnection, Error
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import ReadOnlySqlTransaction
from psycopg.rows import TupleRow

from hostedagent.errors import ConfigurationError, HostError
from hostedagent.stores.base import DEFAULT_TTL, StoreUnavailable
from hostedagent.stores.postgres.limits import ended_after

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

TOKEN_SCOPE: Final = "https://ossrdbms-aad.database.windows.net/.default"
"""The scope of a token for Azure Database for PostgreSQL."""

MINIMUM_VERSION: Final = 150000

_SCHEMA: Final = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,39}")
_NETWORK: Final[Mapping[str, str | int]] = {
    "fallback_application_name": "hostedagent",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""Defaults of a DSN: a lost peer is detected within about ten seconds."""

_REFUSALS: Final = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "is not permitted to log in",
    "does not exist",
    "permission denied for database",
    "bad value for connect_timeout",
    "definition of service",
    "service file",
    "invalid integer value",
    "invalid port number",
    ' value: "',  # invalid sslmode value: "x"
)
"""In messages of connections that will be refused again, also by libpq itself, which gives no SQLSTATE for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresSettings:
    """Connection settings of the database.

    Args:
        direct_dsn: The database itself, if `dsn` names a pooler.
        credential: Provides tokens that are used as the password.
        timeout: Seconds that one statement may take, including the wait for a connection.
        retention: Seconds that a record lives after its last write.
    """

    dsn: str
    schema: str
    direct_dsn: str | None = None
    credential: AsyncTokenCredential | None = None
    timeout: float = 10.0
    pool_size: int = 10
    retention: float = DEFAULT_TTL
    migrates: bool = True

    def __post_init__(self) -> None:
        """Check what can be checked without a connection."""
        for name, dsn in (("dsn", self.dsn), ("direct_dsn", self.direct_dsn)):
            if dsn is not None or name == "dsn":
                _parsed(name, dsn)
        if not _SCHEMA.fullmatch(self.schema):
            raise ConfigurationError(
                f"The schema {self.schema!r} is refused: use at most 40 lower-case letters, digits and underscores, "
                "not a digit or pg_ first."
            )
        if self.timeout <= 0 or self.pool_size < 1:
            raise ConfigurationError("postgres_stores(timeout=..., pool_size=...) must be positive.")

    async def parameters(self, *, is_direct: bool) -> dict[str, Any]:
        """The arguments of `connect`, with a fresh token if a credential provides the password."""
        given = _parsed("dsn", self.direct_dsn if is_direct and self.direct_dsn is not None else self.dsn)
        if self.credential is not None:
            given["password"] = (await self.credential.get_token(TOKEN_SCOPE)).token
            if "PGSSLMODE" not in os.environ:
                given.setdefault("sslmode", "require")
        # In other encodings psycopg returns texts as bytes, or cannot send all of them.
        return {**_NETWORK, **given, "client_encoding": "UTF8", "autocommit": True}

    async def connect(self) -> AsyncConnection[TupleRow]:
        """Open a direct connection, which `LISTEN` and session locks need.

        Raises:
            ConfigurationError: The database refuses the login, is too old, or is behind a pooler.
            StoreUnavailable: It cannot be reached.
        """
        try:
            connection = await AsyncConnection.connect(**await self.parameters(is_direct=True))
        except (Error, OSError) as error:
            raise _connect_failure(error) from None
        try:
            with ended_after(connection, self.timeout):  # No setting limits the first statements.
                await self._check(connection)
                await connection.execute(self.session_settings())
        except (Error, OSError) as error:
            await connection.close()
            raise unavailable(error) from None
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _check(self, connection: AsyncConnection[TupleRow]) -> None:
        if connection.info.server_version < MINIMUM_VERSION:
            found = connection.info.server_version // 10_000
            raise ConfigurationError(f"PostgreSQL {found} is too old: version 15 or later is needed.")
        if await is_pooled(connection):
            raise ConfigurationError(
                "The database is reached through a pooler such as PgBouncer, where LISTEN and session locks do not "
                "work: set postgres_stores(direct_dsn=...) to PostgreSQL itself. dsn=... may stay the pooler."
            )

    def session_settings(self) -> bytes:
        """The settings of a session: no statement waits forever, and the server detects a lost client."""
        milliseconds = max(1, int(self.timeout * 1_000))
        return (
            f"SET statement_timeout = {milliseconds}; SET lock_timeout = {milliseconds}; "
            f"SET idle_in_transaction_session_timeout = {milliseconds}; "
            "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3"
        ).encode()


async def is_pooled(connection: AsyncConnection[TupleRow]) -> bool:
    """Whether a pooler between us and the server shares its connections between clients."""
    row = await (await connection.execute("SELECT pg_backend_pid()")).fetchone()
    # A pooler makes up the process id that its clients use to cancel statements.
    return row is None or row[0] != connection.info.backend_pid


def _parsed(name: str, dsn: str | None) -> dict[str, Any]:
    try:
        given = dict(conninfo_to_dict(dsn.strip())) if dsn is not None else None
    except (Error, UnicodeError):
        given = None
    if given is None or not _has_plain_hosts(given):
        # Without the text of the error, which repeats part of the DSN.
        raise ConfigurationError(
            f"postgres_stores({name}=...) is not a DSN: write postgresql://user@host:5432/database, "
            "with special characters of the password percent-encoded."
        ) from None
    return given


def _has_plain_hosts(given: Mapping[str, Any]) -> bool:
    """Whether no host and no port can be a part of the password, as where a character of it is not encoded."""
    hosts, ports = str(given.get("host", "")).split(","), str(given.get("port", "")).split(",")
    return not any("@" in host[1:] for host in hosts) and all(not port or port.strip().isdigit() for port in ports)


def _connect_failure(error: Error | OSError) -> HostError:
    text = str(error)  # It contains host, user and database, never the password.
    if any(refusal in text for refusal in _REFUSALS):
        return ConfigurationError(f"The database refuses the connection: {text.strip()}")
    return StoreUnavailable(f"The database cannot be reached: {text.strip()}")


def unavailable(error: BaseException) -> StoreUnavailable:
    """The error for a failed statement or connection, without the server's text, which may contain content."""
    if isinstance(error, ReadOnlySqlTransaction):
        return StoreUnavailable(
            "The database is read-only: name the primary, or all hosts with target_session_attrs=read-write."
        )
    state = f", SQLSTATE {error.sqlstate}" if isinstance(error, Error) and error.sqlstate else ""
    return StoreUnavailable(f"The database did not do what was asked ({type(error).__name__}{state}).")
