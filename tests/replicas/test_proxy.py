"""The proxy in front of the replicas that `pytest --replicas` serves."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from hostedagent.testing import serve
from tests.serving import Proxy


def replica(stopped: list[int], number: int) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        yield
        for _ in range(100):
            await asyncio.sleep(0)
        stopped.append(number)

    return Starlette(lifespan=lifespan)


async def test_every_replica_has_stopped_when_the_proxy_has() -> None:
    stopped: list[int] = []

    async with serve(Proxy([replica(stopped, number) for number in range(3)])):
        assert not stopped

    assert sorted(stopped) == [0, 1, 2]
