"""Records in one table. A write of several records is one call of one function in the database, all or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from psycopg import Error

from hostedagent.identity import Caller
from hostedagent.stores.base import ABSENT, Etag, Key, Record, StoreConflict, StoreUnavailable, Write
from hostedagent.stores.postgres.database import Database

# Bytes in binary form (%b): half as long as texts, and the same under every setting of the database.
_READ: Final = "SELECT key, etag, value FROM {schema}.records WHERE key = ANY (%b) AND expires_at > now()"
_WRITE: Final = "SELECT {schema}.write_records(%b::bytea[], %b::bytea[], %s::bigint[], %s::float8[])"

_NEVER: Final = -1
"""An etag that no record has."""

_MAX_TTL: Final = 100 * 365 * 86400.0


class PostgresStore:
    """A `Store` in PostgreSQL."""

    is_transactional = True

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, caller: Caller, keys: Sequence[Key]) -> list[Record | None]:
        """The records in the order of the keys."""
        if not keys:
            return []
        places = [bytes.fromhex(caller.scope.key(*key)) for key in keys]
        rows = await self._database.rows(_READ, (places,), repeats=True)
        found = {place: Record(value, str(etag)) for place, etag, value in rows}
        return [found.get(place) for place in places]

    async def write(self, caller: Caller, writes: Sequence[Write]) -> list[Etag]:
        """Write all records, or none."""
        if not writes:
            return []
        retention = self._database.settings.retention
        columns = (
            [bytes.fromhex(caller.scope.key(*write.key)) for write in writes],
            [write.value for write in writes],
            [_expected(write.expect) for write in writes],
            [min(retention if write.ttl is None else write.ttl, _MAX_TTL) for write in writes],
        )
        try:
            rows = await self._database.rows(_WRITE, columns)
        except Error:
            raise StoreConflict("Another process created a record at the same time.") from None
        etags: Sequence[int] = rows[0][0]
        if etags[0] < 0:
            kind = writes[-etags[0] - 1].key.kind
            raise StoreConflict(f"The record of kind {kind!r} changed since it was read.")
        if len(etags) != len(writes):
            raise StoreUnavailable("The database answered for other records than were written.")
        return [str(etag) if etag else ABSENT for etag in etags]

    async def delete(self, caller: Caller, keys: Sequence[Key], *, expect: Etag | None = None) -> None:
        """Erase the records."""
        await self.write(caller, [Write(key, None, expect) for key in dict.fromkeys(keys)])


def _expected(etag: Etag | None) -> int | None:
    if etag is None:
        return None
    if etag == ABSENT:
        return 0
    return int(etag) if etag.isascii() and etag.isdigit() and len(etag) < 19 else _NEVER
