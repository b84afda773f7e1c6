"""The limit of a statement ends its connection, and no other statement's."""

import asyncio
from typing import Any, cast

from hostedagent.stores.postgres.limits import ended_after
from hostedagent.stores.postgres.settings import PostgresSettings
from tests.virtual_time import virtual_time


class Connection:
    """Notes that it would be ended."""

    was_ended = False

    def fileno(self) -> int:
        self.was_ended = True
        raise OSError


@virtual_time
async def test_a_statement_that_ends_in_time_leaves_its_connection_open() -> None:
    connection = Connection()
    with ended_after(cast("Any", connection), 10.0):
        await asyncio.sleep(9.0)
    await asyncio.sleep(9.0)

    assert not connection.was_ended


@virtual_time
async def test_a_statement_that_does_not_end_in_time_loses_its_connection() -> None:
    connection = Connection()
    with ended_after(cast("Any", connection), 10.0):
        await asyncio.sleep(11.0)

    assert connection.was_ended


async def test_a_host_that_answers_nothing_is_given_up_after_seconds_unless_the_dsn_says_otherwise() -> None:
    given = await PostgresSettings(dsn="postgresql://db.example/db?keepalives_idle=60", schema="s").parameters(
        is_direct=True
    )

    limits = ("connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")
    assert [given[name] for name in limits] == [5, "60", 2, 3, 10_000]
