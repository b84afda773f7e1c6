"""A process that is killed blocks no conversation: its lock is free at once, and so is what it held."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace

from hostedagent.errors import Conflict
from hostedagent.identity import Caller
from hostedagent.stores.factory import postgres_stores
from hostedagent.stores.leases import Leases
from tests.patience import PATIENCE
from tests.postgres.server import postgres_dsn, schema

HOLDER = """
import asyncio, sys
from hostedagent.identity import Caller
from hostedagent.stores.factory import postgres_stores
from hostedagent.stores.leases import Leases

async def hold():
    stores = postgres_stores(sys.argv[1], schema=sys.argv[2])
    await Leases(stores.state, stores.leases).acquire(Caller(), "c")
    print("held", flush=True)
    await asyncio.Event().wait()

asyncio.run(hold())
"""


async def test_a_conversation_of_a_killed_process_is_free_at_once() -> None:
    with schema() as name:
        stores = postgres_stores(postgres_dsn(), schema=name)
        await stores.aopen()
        now = time.time()  # The clock stands: no lease ends because its time is over.
        leases = Leases(stores.state, replace(stores.leases, clock=lambda: now))
        holder = await asyncio.create_subprocess_exec(
            sys.executable, "-c", HOLDER, postgres_dsn(), name, stdout=asyncio.subprocess.PIPE
        )
        assert holder.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE):
                assert await holder.stdout.readline() == b"held\n"
            refused = await taken(leases)
            holder.kill()
            async with asyncio.timeout(PATIENCE):
                while not await taken(leases):  # noqa: ASYNC110 - there is no event for a death
                    await asyncio.sleep(0)
        finally:
            await holder.wait()
            await stores.aclose()
    assert not refused


async def taken(leases: Leases) -> bool:
    try:
        await leases.acquire(Caller(), "c")
    except Conflict:
        return False
    return True
