"""The direct connection of a process: it receives notifications and holds the lock that shows it is alive.

The lock belongs to the session, so the database releases it as soon as the process dies. A process that was cut off
reclaims its name, unless another process has declared it dead in the meantime: then it gets a new name.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Final

from psycopg import Error, Notify

from hostedagent.errors import ConfigurationError
from hostedagent.observability.logging import FAILURE_OBSERVERS, log_failure
from hostedagent.stores.base import StoreUnavailable
from hostedagent.stores.postgres.database import Connection, Database, spawn, stop
from hostedagent.stores.postgres.limits import ended_after
from hostedagent.stores.postgres.migrations import lock_id
from hostedagent.stores.postgres.settings import unavailable

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS: Final = 5.0
"""Seconds between checks of a quiet connection."""

GRACE_SECONDS: Final = 3.0
"""Seconds that a process declares no other dead after it was cut off: after a restart of the database, all processes
must reclaim their locks."""

_POLL_SECONDS: Final = 0.5
"""Seconds between polls of followers while there are no notifications."""

_TOLERATED: Final = 0.1
"""Uncertainty in seconds with which the time of the database is always good enough."""

_SAFETY_SECONDS: Final = 15.0
_MAX_PAUSE: Final = 5.0
_EVENTS: Final = "e"


class Listener:
    """The direct connection.

    Args:
        deliver: Receives each notification that is not about events.
    """

    def __init__(self, database: Database, deliver: Callable[[str], None]) -> None:
        self._database = database
        self._deliver = deliver
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._failure: ConfigurationError | None = None
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._name = ""
        self._cut_at: float | None = None
        self._offset, self._error = 0.0, math.inf
        schema = database.settings.schema
        self.channel: Final = f"hostedagent_{schema}"

    @property
    def is_ready(self) -> bool:
        """Whether notifications are being received."""
        return self._ready.is_set()

    @property
    def may_judge(self) -> bool:
        """Whether a free lock proves that its process has ended."""
        return self.is_ready and (self._cut_at is None or time.monotonic() - self._cut_at > GRACE_SECONDS)

    @property
    def poll_seconds(self) -> float:
        """Seconds that a follower waits for a notification before it polls."""
        return _SAFETY_SECONDS if self.is_ready else _POLL_SECONDS

    def now(self) -> float:
        """The database's time in seconds since the epoch, as far as it is known."""
        return time.time() + self._offset

    async def name(self) -> str:
        """The name of this process.

        Raises:
            StoreUnavailable: It has no name while the database cannot be reached.
        """
        await self.connected()
        return self._name

    async def connected(self) -> None:
        """Wait until notifications are being received.

        Raises:
            ConfigurationError: The configuration of the database is invalid.
            StoreUnavailable: It cannot be reached.
        """
        self.start()
        if self.is_ready:
            return
        ready = asyncio.ensure_future(self._ready.wait())
        try:
            await asyncio.wait(
                {ready, *([self._task] if self._task is not None else [])},
                timeout=self._database.settings.timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            ready.cancel()
        if self._failure is not None:
            raise self._failure
        if not self.is_ready:
            raise StoreUnavailable("The database cannot be reached.")

    def start(self) -> None:
        """Start connecting, unless that has started."""
        if self._task is None or self._task.done():
            self._failure = None
            self._task = spawn(self._run(), "hostedagent-postgres-listen")

    @contextmanager
    def watched(self, key: str) -> Generator[asyncio.Event]:
        """An `asyncio.Event` that is set when the log of this key may have changed."""
        self.start()
        grown = asyncio.Event()
        self._waiting[key].add(grown)
        try:
            yield grown
        finally:
            self._waiting[key].discard(grown)
            if not self._waiting[key]:
                del self._waiting[key]

    async def aclose(self) -> None:
        """Close the connection, which releases the lock. It is opened again on the next use."""
        task, self._task = self._task, None
        if task is not None:
            await stop(task)
        self._name = ""

    async def _run(self) -> None:
        pause, is_reported = 0.05, False
        while True:
            try:
                await self._database.open()
                connection = await self._database.settings.connect()
                try:
                    await self._enter(connection)
                    pause, is_reported = 0.05, False
                    await self._listen(connection)
                finally:
                    await self._leave(connection)
            except ConfigurationError as error:
                if not self._name:
                    self._failure = error
                    return
                log_failure(logger, "Connecting to the database failed", error)
            except (Error, OSError, TimeoutError, StoreUnavailable) as error:
                if not is_reported:
                    _report(error)
                is_reported = True
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, _MAX_PAUSE)

    async def _enter(self, connection: Connection) -> None:
        with ended_after(connection, self._database.settings.timeout):
            self._error = math.inf  # It may be another server.
            await self._take_name(connection)
            await connection.execute(f'LISTEN "{self.channel}"'.encode())
            await self.measure(connection)
        if self._cut_at is not None:
            self._cut_at = time.monotonic()
        self._ready.set()
        self._wake_all()

    async def _take_name(self, connection: Connection) -> None:
        database = self._database
        if self._name:
            await self._lock(connection, self._name)
            found = await connection.execute(
                database.statement("SELECT FROM {schema}.processes WHERE name = %s"), (self._name,)
            )
            if found.rowcount == 1:
                return
            logger.warning("Another process found this one dead while it was cut off: it gets a new name.")
        name = secrets.token_hex(16)
        await self._lock(connection, name)
        await connection.execute(database.statement("INSERT INTO {schema}.processes (name) VALUES (%s)"), (name,))
        self._name = name

    async def _lock(self, connection: Connection, name: str) -> None:
        lock = self.lock_of(name)
        row = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", (lock,))).fetchone()
        if row == (True,):
            return
        # Our own previous session, which the server has not yet closed.
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
            "AND (classid::bigint << 32) | objid::bigint = %s AND granted AND pid <> pg_backend_pid()",
            (lock,),
        )
        await connection.execute("SELECT pg_advisory_lock(%s)", (lock,))

    def lock_of(self, name: str) -> int:
        """The number of the lock that a process of this name holds."""
        return lock_id("process", self._database.settings.schema, name)

    async def measure(self, connection: Connection) -> None:
        """Ask for the database's time."""
        began = time.time()
        row = await (await connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8")).fetchone()
        ended = time.time()
        error = (ended - began) / 2  # Large if this process was paused meanwhile.
        if row is not None and error <= max(self._error, _TOLERATED):
            self._offset, self._error = row[0] - (began + ended) / 2, error

    async def _listen(self, connection: Connection) -> None:
        while True:
            async for notify in connection.notifies(timeout=HEARTBEAT_SECONDS):
                self._take(notify)
            with ended_after(connection, self._database.settings.timeout):
                await self.measure(connection)

    def _take(self, notify: Notify) -> None:
        kind, rest = notify.payload[:1], notify.payload[1:]
        if kind != _EVENTS:
            self._deliver(notify.payload)
            return
        for grown in self._waiting.get(rest, ()):
            grown.set()

    def _wake_all(self) -> None:
        for waiting in self._waiting.values():
            for grown in waiting:
                grown.set()

    async def _leave(self, connection: Connection) -> None:
        self._ready.clear()
        self._cut_at = time.monotonic()
        self._wake_all()
        with suppress(Exception):
            await connection.close()


def _report(error: BaseException) -> None:
    """Log why there is no connection: texts of libpq and of this package, which contain no prompt."""
    reason = error if isinstance(error, StoreUnavailable) else unavailable(error)
    if FAILURE_OBSERVERS:
        log_failure(logger, "There is no connection to the database; it is tried again", reason)
    else:
        logger.error("There is no connection to the database; it is tried again. %s", reason)
