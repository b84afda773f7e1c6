"""Signals between the processes that share a database, and which of these processes are alive.

A notification contains only ids. The content of a steering message is a row, which listeners read.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Final

from msgspec.structs import astuple

from hostedagent.observability.logging import log_failure
from hostedagent.stores.base import Signal
from hostedagent.stores.local import LocalSignals
from hostedagent.stores.postgres.database import Database, spawn
from hostedagent.stores.postgres.listener import Listener
from hostedagent.stores.recent import Recent

logger = logging.getLogger(__name__)

_WHOLE: Final = "s"
_STORED: Final = "v"
_MAX_PAYLOAD: Final = 7_900
"""PostgreSQL refuses payloads of 8,000 bytes."""

_NOTIFY: Final = "SELECT pg_notify(%s, %s)"
_NOTIFY_STORED: Final = """
WITH sent AS (INSERT INTO {schema}.signals (content) VALUES (%s) RETURNING id)
SELECT pg_notify(%s, %s || id) FROM sent
"""
_FETCH: Final = "SELECT content FROM {schema}.signals WHERE id = %s"
_IS_DEAD: Final = "SELECT {schema}.is_dead(%s, %s, %s)"

_REMEMBERED: Final = 1_000


class PostgresSignals:
    """`Signals` over `NOTIFY`, and `Liveness` by session locks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.listener: Final = Listener(database, self._take)
        self._here = LocalSignals(is_exclusive=False)
        self._arrived: asyncio.Queue[str] = asyncio.Queue()
        self._delivery: asyncio.Task[None] | None = None
        self._dead: Recent[str, None] = Recent(_REMEMBERED)

    async def name(self) -> str:
        """The name of this process; a new one after the process was declared dead while it was cut off."""
        return await self.listener.name()

    async def is_dead(self, name: str) -> bool:
        """Whether the process of that name has certainly ended, or was cut off and cannot use this name again."""
        if not name:
            return False
        if name in self._dead:
            return True
        await self.listener.connected()
        parameters = (name, self.listener.lock_of(name), self.listener.may_judge)
        is_dead: bool = (await self._database.rows(_IS_DEAD, parameters))[0][0]
        if is_dead:
            self._dead[name] = None
        return is_dead

    async def publish(self, signal: Signal) -> None:
        """Send a signal to every listener of every process; raises `StoreUnavailable` when it could not be sent."""
        content = json.dumps(astuple(signal))
        if not signal.value and len(content) < _MAX_PAYLOAD:
            await self._database.rows(_NOTIFY, (self.listener.channel, _WHOLE + content))
        else:
            await self._database.rows(_NOTIFY_STORED, (content, self.listener.channel, _STORED))

    async def receive(self) -> AsyncIterator[Signal]:
        """The signals published from now on. Those sent while the database is away are lost."""
        await self.listener.connected()
        async for signal in self._here.receive():
            yield signal

    async def aclose(self) -> None:
        """End the delivery, and the connection with it."""
        await self.listener.aclose()
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.cancel()
            await asyncio.wait((delivery,))

    def _take(self, payload: str) -> None:
        self._arrived.put_nowait(payload)
        if self._delivery is None or self._delivery.done():
            self._delivery = spawn(self._deliver(), "hostedagent-postgres-signals")

    async def _deliver(self) -> None:
        """Deliver the received signals in order."""
        while not self._arrived.empty():
            payload = self._arrived.get_nowait()
            try:
                content = payload[1:] if payload[:1] == _WHOLE else await self._content(int(payload[1:]))
                if content is not None:
                    await self._here.publish(Signal(*json.loads(content)))
            except Exception as error:  # noqa: BLE001 - delivery is at most once
                log_failure(logger, "A signal from another process was lost", error)

    async def _content(self, number: int) -> str | None:
        rows = await self._database.rows(_FETCH, (number,), repeats=True)
        return rows[0][0] if rows else None
