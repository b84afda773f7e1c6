"""The pool of connections: every statement of the stores goes through `Database.rows`, within one time limit.

It connects on first use, and uses a database again once it is reachable.
"""

from __future__ import annotations

import asyncio
import logging
import random
import select
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import Context
from typing import Any, Final, TypeAlias

from psycopg import AsyncConnection, Error, InterfaceError, OperationalError
from psycopg.errors import DeadlockDetected, SerializationFailure
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from hostedagent.observability.logging import log_failure
from hostedagent.stores.base import StoreUnavailable
from hostedagent.stores.postgres.limits import ended_after
from hostedagent.stores.postgres.migrations import lock_id, migrate, prepare
from hostedagent.stores.postgres.settings import PostgresSettings, is_pooled, unavailable

logger = logging.getLogger(__name__)

Rows: TypeAlias = list[TupleRow]
Parameters: TypeAlias = Sequence[object] | Mapping[str, object]
Connection: TypeAlias = AsyncConnection[TupleRow]

SWEEP_SECONDS: Final = 60.0
"""Seconds between erasures of expired records."""

_SWEEP_ROWS: Final = 1_000
_SWEEP_LOGS: Final = 20
"""Fewer, because a log is erased with its events, of which it may have thousands."""
_TRIES: Final = 4
_RECONNECT_SECONDS: Final = 2.0
"""Seconds that the pool tries to replace a lost connection before it waits for the next call."""

_EXPIRED: Final = (
    """
DELETE FROM {schema}.records WHERE key IN (
    SELECT key FROM {schema}.records WHERE expires_hour < floor(extract(epoch FROM now()) / 3600)
    LIMIT %(rows)s FOR UPDATE SKIP LOCKED)
""",
    """
WITH ended AS (
    DELETE FROM {schema}.event_logs WHERE key IN (
        SELECT key FROM {schema}.event_logs WHERE expires_at < now() LIMIT %(logs)s FOR UPDATE SKIP LOCKED)
    RETURNING key),
erased AS (DELETE FROM {schema}.events USING ended WHERE events.key = ended.key)
SELECT FROM ended
""",
    "DELETE FROM {schema}.signals WHERE sent_at < now() - interval '5 minutes'",
    # Deliveries that were given up.
    "DELETE FROM {schema}.outbox WHERE ready_at = 'infinity' AND ended_at < now() - interval '30 days'",
)


class Database:
    """The database of one host."""

    def __init__(self, settings: PostgresSettings) -> None:
        self.settings = settings
        self._opening: asyncio.Task[None] | None = None
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._statements: dict[str, bytes] = {}

    def statement(self, text: str) -> bytes:
        """A statement on the tables of this database, from its text with `{schema}`."""
        if (statement := self._statements.get(text)) is None:
            statement = self._statements[text] = text.replace("{schema}", f'"{self.settings.schema}"').encode()
        return statement

    async def open(self) -> None:
        """Check the database, create or upgrade its tables, and open the pool. Done automatically on first use.

        Raises:
            ConfigurationError: Its configuration is invalid.
            StoreUnavailable: It cannot be reached.
        """
        if self._pool is not None:
            return
        if self._opening is None:
            # In a context of its own, because the tasks that it starts outlive the first request.
            self._opening = spawn(self._open(), "hostedagent-postgres-open")
        opening = self._opening
        try:
            await asyncio.shield(opening)
        finally:
            if opening.done() and self._opening is opening:
                self._opening = None

    async def rows(self, text: str, parameters: Parameters = (), *, repeats: bool = False) -> Rows:
        """Run one statement and return its rows.

        Args:
            text: The statement, with `{schema}` before the names of tables.
            repeats: Whether it may run again if the connection was lost, because it is idempotent.

        Raises:
            StoreUnavailable: It failed, or took too long.
            psycopg.Error: The statement failed with one of the SQLSTATEs by which it tells something.
        """
        statement, deadline = self.statement(text), asyncio.get_running_loop().time() + self.settings.timeout
        try:
            with _cancellable():
                async with asyncio.timeout_at(deadline):
                    await self.open()
                for _ in range(_TRIES - 1):
                    with suppress(*(_REPEATABLE if repeats else _UNDONE)):
                        return await self._run(statement, parameters, deadline)
                return await self._run(statement, parameters, deadline)
        except (TimeoutError, PoolTimeout) as error:
            raise unavailable(error) from None
        except Error as error:
            if (error.sqlstate or "").startswith(_TOLD):
                raise
            raise unavailable(error) from None

    async def sweep(self) -> None:
        """Erase expired records, unless another process is doing it. Runs every minute."""
        for text in _EXPIRED:
            most = _SWEEP_LOGS if "%(logs)s" in text else _SWEEP_ROWS
            while await self._sweep_some(text) >= most:
                pass

    async def migrate(self) -> list[str]:
        """Create and upgrade the tables; returns what each migration is for.

        Raises:
            ConfigurationError: The role lacks a privilege.
            StoreUnavailable: The database failed; nothing has changed.
        """
        connection = await self.settings.connect()
        try:
            applied = await migrate(connection, self.settings.schema)
        except (Error, OSError) as error:
            raise unavailable(error) from None
        finally:
            await connection.close()
        return [f"{migration.version}: {migration.purpose}" for migration in applied]

    async def aclose(self) -> None:
        """Close the pool. It is opened again on the next use."""
        pool, self._pool = self._pool, None
        sweeping, self._sweeping = self._sweeping, None
        if sweeping is not None:
            await stop(sweeping)
        if pool is not None:
            await pool.close()

    async def _open(self) -> None:
        settings = self.settings
        connection = await settings.connect()
        try:
            await prepare(connection, settings.schema, migrates=settings.migrates)
        except (Error, OSError) as error:
            raise unavailable(error) from None
        finally:
            await connection.close()

        async def parameters() -> dict[str, Any]:
            return await settings.parameters(is_direct=False)

        pool = AsyncConnectionPool[Connection](
            kwargs=parameters,
            min_size=1,
            max_size=settings.pool_size,
            open=False,
            configure=self._configure,
            check=_check,
            timeout=settings.timeout,
            reconnect_timeout=_RECONNECT_SECONDS,
            name=f"hostedagent-{settings.schema}",
        )
        await pool.open()
        self._pool = pool
        self._sweeping = spawn(self._sweep_regularly(), "hostedagent-postgres-sweep")

    async def _configure(self, connection: Connection) -> None:
        async with asyncio.timeout(self.settings.timeout):
            if await is_pooled(connection):
                # The server connection changes with every transaction: neither settings nor statements can be prepared.
                connection.prepare_threshold = None
            else:
                connection.prepare_threshold = 1
                await connection.execute(self.settings.session_settings())

    async def _run(self, statement: bytes, parameters: Parameters, deadline: float) -> Rows:
        if self._pool is None:
            raise StoreUnavailable("The store is closed.")
        async with self._pool.connection(_until(deadline)) as connection:
            with ended_after(connection, _until(deadline)):
                cursor = await connection.execute(statement, parameters, binary=True)
                return await cursor.fetchall() if cursor.description is not None else []

    async def _sweep_some(self, text: str) -> int:
        await self.open()
        if self._pool is None:
            return 0
        async with self._pool.connection() as connection, connection.transaction():
            number = lock_id("sweep", self.settings.schema)
            lock = await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (number,))
            if (await lock.fetchone()) != (True,):
                return 0
            return (await connection.execute(self.statement(text), {"rows": _SWEEP_ROWS, "logs": _SWEEP_LOGS})).rowcount

    async def _sweep_regularly(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS * random.uniform(0.5, 1.5))
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - tried again in a minute
                log_failure(logger, "Erasing expired records failed", error)


_TOLD: Final = ("HA", "22012")
"""SQLSTATEs that functions of this package raise, and that of a division by zero, which undoes a statement."""

_UNDONE: Final = (DeadlockDetected, SerializationFailure)
"""Failures after which a statement has certainly not happened."""

_REPEATABLE: Final = (*_UNDONE, OperationalError, InterfaceError)


def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Start a task without the context of the current request."""
    return asyncio.get_running_loop().create_task(work, name=name, context=Context())


async def stop(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended: it may lose a cancellation, see `_cancellable`."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=0.2)


def _until(deadline: float) -> float:
    """The seconds until a time of the event loop; raises `TimeoutError` after it."""
    if (seconds := deadline - asyncio.get_running_loop().time()) <= 0:
        raise TimeoutError
    return seconds


@contextmanager
def _cancellable() -> Generator[None]:
    """Raise a cancellation that was lost inside.

    The pool waits with `asyncio.wait_for`, which on Python 3.11 loses a cancellation that arrives together with the
    connection: https://github.com/python/cpython/issues/86296. Can go with Python 3.11.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError


async def _check(connection: Connection) -> None:
    """Check that a pooled connection is still open, without a query if nothing was received."""
    if _has_input(connection.fileno()):
        await AsyncConnectionPool.check_connection(connection)


def _polled(number: int) -> bool:
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


def _selected(number: int) -> bool:
    return bool(select.select([number], [], [], 0)[0])


_has_input: Callable[[int], bool] = _polled if hasattr(select, "poll") else _selected
