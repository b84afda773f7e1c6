"""The stores of a host: in memory, in a SQLite file, in PostgreSQL, or on Foundry."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hostedagent.errors import ConfigurationError
from hostedagent.identity import Caller
from hostedagent.platform import ENDPOINT_VARIABLE, is_hosted
from hostedagent.stores.base import DEFAULT_TTL, EventLog, Key, ResponseRepository, Signals, Store, Write
from hostedagent.stores.lease_settings import LeaseSettings
from hostedagent.stores.local import LocalEventLog, LocalSignals
from hostedagent.stores.memory import MemoryStore
from hostedagent.stores.responses import StoredResponses
from hostedagent.stores.retry import RetryPolicy

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

    from hostedagent.stores.outbox import Outbox
    from hostedagent.stores.postgres.database import Database
    from hostedagent.stores.turn_queue import TurnQueue


_PROBE: Final = Write(Key("probe", "readiness"), b"", ttl=60.0)
"""The record with which a store is checked for writing."""


async def _nothing() -> None:
    return None


async def _write_probe(store: Store) -> None:
    await store.write(Caller(), [_PROBE])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The stores of a host. `Stores.over(store)` builds them on one `Store` of your own.

    Args:
        state: Sessions, approvals, leases and all other records.
        responses: Responses and their items.
        signals: Messages between the processes that share the store.
        events: The events of background streams, for all processes that share the store; `None` to keep them in the
            process, or in the state where `resilient_background` needs them after it.
        queue: Creates the queue of background turns of a service; `None` to keep it in the state.
        outbox: Creates the outbox of webhooks of a service; `None` to keep it in the state.
        leases: The settings of leases on conversations.
        is_durable: Whether stored data outlives the process.
        needs_request: Whether the service answers only on behalf of a request.
        aopen: Called once, when the host starts. Stores open by themselves; this reports mistakes before a request.
        aclose: Called once, when the host stops.
        check: Raises if the stores cannot be written; `/readiness` calls it at most every few seconds.
    """

    state: Store
    responses: ResponseRepository
    signals: Signals
    events: EventLog | None = None
    queue: Callable[[str], TurnQueue] | None = None
    outbox: Callable[[str], Outbox] | None = None
    leases: LeaseSettings = field(default_factory=LeaseSettings)
    is_durable: bool = True
    needs_request: bool = False
    aopen: Callable[[], Awaitable[None]] = _nothing
    aclose: Callable[[], Awaitable[None]] = _nothing
    check: Callable[[], Awaitable[None]] = _nothing

    @property
    def are_shared(self) -> bool:
        """Whether several processes can use them concurrently and inform each other."""
        return not isinstance(self.signals, LocalSignals)

    @classmethod
    def over(
        cls,
        store: Store,
        *,
        signals: Signals | None = None,
        events: EventLog | None = None,
        queue: Callable[[str], TurnQueue] | None = None,
        outbox: Callable[[str], Outbox] | None = None,
        leases: LeaseSettings | None = None,
        is_durable: bool = True,
        aopen: Callable[[], Awaitable[None]] = _nothing,
        aclose: Callable[[], Awaitable[None]] = _nothing,
        check: Callable[[], Awaitable[None]] = _nothing,
    ) -> Stores:
        """Everything on one store.

        Args:
            store: The store.
            signals: Messages between the processes that share it; by default within this process only.
            events: The events of background streams, for all processes that share the store.
            queue: Creates the queue of background turns of a service; by default it is kept in the store.
            outbox: Creates the outbox of webhooks of a service; by default it is kept in the store.
            leases: The settings of leases on conversations.
            is_durable: Whether stored data outlives the process.
            aopen: Called once, when the host starts.
            aclose: Called once, when the host stops.
            check: Raises if the store cannot be written.
        """
        chosen = signals or LocalSignals(is_exclusive=False)
        return cls(
            state=store,
            responses=StoredResponses(store),
            signals=chosen,
            events=events,
            queue=queue,
            outbox=outbox,
            leases=leases or LeaseSettings(liveness=chosen),
            is_durable=is_durable,
            aopen=aopen,
            aclose=aclose,
            check=check,
        )


def default_stores(retention: float = DEFAULT_TTL) -> Stores:
    """Foundry when hosted, else memory."""
    return foundry_stores(retention=retention) if is_hosted() else memory_stores(retention=retention)


def memory_stores(*, retention: float = DEFAULT_TTL) -> Stores:
    """Keep everything in memory: it ends with the process.

    Args:
        retention: Seconds that responses and state live after their last change.
    """
    signals, events = LocalSignals(is_exclusive=True), LocalEventLog()
    return Stores.over(MemoryStore(retention=retention), signals=signals, events=events, is_durable=False)


def sqlite_stores(path: str | os.PathLike[str], *, retention: float = DEFAULT_TTL) -> Stores:
    """Keep everything in one SQLite file of this machine, for one process at a time.

    Args:
        path: The file; created, with its folder, for this user only. Not on a network file system.
        retention: Seconds that responses and state live after their last change.

    Raises:
        ConfigurationError: The file cannot be opened, is damaged, or is open in another process.
    """
    from hostedagent.stores.sqlite import SqliteStore

    store = SqliteStore(path, retention=retention)
    check = partial(_write_probe, store)
    return Stores.over(store, signals=LocalSignals(is_exclusive=True), aclose=store.aclose, check=check)


def postgres_stores(
    dsn: str,
    *,
    direct_dsn: str | None = None,
    schema: str = "hostedagent",
    credential: AsyncTokenCredential | None = None,
    retention: float = DEFAULT_TTL,
    timeout: float = 10.0,
    pool_size: int = 10,
    migrate: bool = True,
) -> Stores:
    """Keep everything in PostgreSQL 15 or later, for any number of replicas. Needs the extra `postgres`.

    Args:
        dsn: The database, as `postgresql://user@host:5432/database?sslmode=verify-full`; may name a pooler.
        direct_dsn: The database itself, if `dsn` names a pooler, which one connection of each replica must bypass.
        schema: The schema of the tables.
        credential: Provides Microsoft Entra tokens that are used as the password. The application closes it.
        retention: Seconds that responses and state live after their last change.
        timeout: Seconds that a statement may take, including the wait for a connection.
        pool_size: Connections in the pool of each replica, besides the direct one.
        migrate: Whether to create and upgrade the tables at startup; otherwise `hostedagent migrate` does.

    Raises:
        ConfigurationError: A value is invalid, or the extra is not installed.
    """
    database = _database(
        dsn=dsn,
        direct_dsn=direct_dsn,
        schema=schema,
        credential=credential,
        timeout=timeout,
        pool_size=pool_size,
        retention=retention,
        migrates=migrate,
    )
    from hostedagent.stores.postgres.event_log import PostgresEventLog
    from hostedagent.stores.postgres.outbox import PostgresOutbox
    from hostedagent.stores.postgres.signals import PostgresSignals
    from hostedagent.stores.postgres.store import PostgresStore
    from hostedagent.stores.postgres.turn_queue import PostgresTurnQueue

    signals = PostgresSignals(database)

    async def aclose() -> None:
        await signals.aclose()
        await database.aclose()

    store = PostgresStore(database)
    return Stores.over(
        store,
        signals=signals,
        events=PostgresEventLog(database, signals.listener),
        queue=lambda service: PostgresTurnQueue(database, service=service),
        outbox=lambda service: PostgresOutbox(database, service=service),
        leases=LeaseSettings(liveness=signals, clock=signals.listener.now),
        aopen=signals.listener.connected,
        aclose=aclose,
        check=partial(_write_probe, store),
    )


async def migrate_postgres(
    dsn: str, *, schema: str = "hostedagent", credential: AsyncTokenCredential | None = None
) -> list[str]:
    """Create and upgrade the tables of `postgres_stores`, and return what was applied.

    Args:
        dsn: The database itself, not a pooler.
        schema: The schema of the tables.
        credential: Provides Microsoft Entra tokens that are used as the password.

    Raises:
        HostError: The database cannot be reached, or the role lacks a privilege.
    """
    database = _database(dsn=dsn, schema=schema, credential=credential, timeout=600.0)
    return await database.migrate()


def _database(**settings: Any) -> Database:
    try:
        from hostedagent.stores.postgres.database import Database
        from hostedagent.stores.postgres.settings import PostgresSettings
    except ImportError as error:
        raise ConfigurationError("PostgreSQL needs packages: pip install 'psycopg[binary]' psycopg-pool") from error
    return Database(PostgresSettings(**settings))


def foundry_stores(
    *,
    endpoint: str | None = None,
    credential: AsyncTokenCredential | None = None,
    retention: float = DEFAULT_TTL,
    retry: RetryPolicy | None = None,
    agent: str | None = None,
) -> Stores:
    """Keep everything in the Foundry project.

    Args:
        endpoint: The project's endpoint; by default `FOUNDRY_PROJECT_ENDPOINT`.
        credential: A credential that the application closes; by default a `DefaultAzureCredential` of the host.
        retention: Seconds that state lives after its last change.
        retry: Timeout and retry settings of calls to the service.
        agent: The agent whose data are kept apart from those of others in the process. They are all in a state store of
            its own, the responses too: Foundry's response storage separates users, not agents.

    Raises:
        ConfigurationError: There is no endpoint.
    """
    from hostedagent.stores.foundry.responses import FoundryResponses, connector
    from hostedagent.stores.foundry.store import NAME, FoundryStore, OwnCredential
    from hostedagent.stores.outbox import StoredOutbox

    endpoint = endpoint or os.environ.get(ENDPOINT_VARIABLE)
    if not endpoint:
        raise ConfigurationError(f"Storage on Foundry needs the project's endpoint: set {ENDPOINT_VARIABLE}.")
    own = OwnCredential()
    used = credential or own
    name = NAME if agent is None else f"{NAME}-{agent}"
    store = FoundryStore(endpoint=endpoint, credential=used, retention=retention, retry=retry, name=name)

    async def aclose() -> None:
        await store.aclose()
        await responses.aclose()
        await own.close()

    # In the process: the service answers only on behalf of a request, and a delivery has none.
    waiting = MemoryStore(retention=retention)
    outbox = partial(StoredOutbox, waiting, time.time)
    records = Stores.over(store, outbox=lambda service: outbox(service=service), aclose=aclose)
    records = replace(records, needs_request=True)
    responses = FoundryResponses(connector(endpoint, used), records.responses, retry=retry)
    return replace(records, responses=responses) if agent is None else records
