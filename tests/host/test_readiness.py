"""`/readiness` says when a process that runs cannot serve, and why; a storage that does not answer delays nobody."""

import asyncio
import logging
import os
import resource
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hostedagent import AgentHost, memory_stores, postgres_stores
from hostedagent.host import Driver
from hostedagent.server.readiness import AGAIN_SECONDS, FRESH_SECONDS, Readiness, are_descriptors_used_up
from hostedagent.stores.base import StoreUnavailable
from hostedagent.testing import InProcessClient, ScriptedAgent, serve
from tests.patience import PATIENCE
from tests.postgres.relay import relay
from tests.postgres.server import schema

SECRET = "/srv/secret-1/state.db"


class Disk:
    """A storage that is full or not, looked at on a clock of its own."""

    def __init__(self) -> None:
        self.now, self.looks, self.is_full = 0.0, 0, False

    async def check(self) -> None:
        self.looks += 1
        if self.is_full:
            raise StoreUnavailable(SECRET)


async def answered(client: InProcessClient) -> tuple[int, str | None]:
    reply = await client.get("/readiness")
    return reply.status, reply.json().get("reason")


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
async def test_a_process_whose_storage_is_full_is_not_ready_until_it_can_be_written(
    driver: Driver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hostedagent.server.readiness.AGAIN_SECONDS", 0.0)
    disk = Disk()
    disk.is_full = True
    host = AgentHost(ScriptedAgent(), stores=replace(memory_stores(), check=disk.check), driver=driver)

    async with serve(host.app) as client:
        assert [await answered(client) for _ in range(3)] == [(503, "storage")] * 3
        disk.is_full = False
        assert await answered(client) == (200, None)

    said = [row.getMessage() for row in caplog.records if row.levelno >= logging.WARNING]
    assert len(said) == 1 and "its storage cannot be written" in said[0] and SECRET not in said[0]


async def test_the_storage_is_tried_again_sooner_where_it_has_failed() -> None:
    disk = Disk()
    readiness = Readiness(disk.check, lambda: disk.now)

    async def looks_at(now: float) -> tuple[int, str | None]:
        disk.now = now
        lack = await readiness.lack()
        return disk.looks, lack

    assert await looks_at(0.0) == (1, None)
    disk.is_full = True
    assert await looks_at(FRESH_SECONDS - 0.1) == (1, None)
    assert await looks_at(FRESH_SECONDS) == (2, "storage")
    assert await looks_at(FRESH_SECONDS + AGAIN_SECONDS - 0.1) == (2, "storage")
    disk.is_full = False
    assert await looks_at(FRESH_SECONDS + AGAIN_SECONDS) == (3, None)
    assert (FRESH_SECONDS, AGAIN_SECONDS) == (5.0, 1.0)


async def test_a_storage_that_does_not_answer_is_asked_once_and_keeps_no_probe_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hostedagent.server.readiness.PATIENCE_SECONDS", 0.0)
    answers, disk = asyncio.Event(), Disk()

    async def check() -> None:
        await disk.check()
        await answers.wait()

    readiness = Readiness(check)
    assert [await readiness.lack() for _ in range(3)] == [None] * 3
    assert disk.looks == 1
    answers.set()


FULL_DISK = """
import asyncio, resource, signal, sys
from hostedagent import AgentHost, sqlite_stores
from hostedagent.server import readiness
from hostedagent.testing import ScriptedAgent, serve

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    readiness.FRESH_SECONDS = readiness.AGAIN_SECONDS = 0.0
    readiness.PATIENCE_SECONDS = 60.0
    async with serve(AgentHost(ScriptedAgent(), stores=sqlite_stores(sys.argv[1])).app) as client:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        for limit in (soft, 4_096, soft):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            reply = await client.get("/readiness")
            print(reply.status, reply.json().get("reason"), reply.headers.get("retry-after"))

asyncio.run(main())
"""


def test_a_process_whose_disk_is_full_is_not_ready_until_there_is_room(tmp_path: Path) -> None:
    # The size of files is limited in a process of its own: the limit holds for all of its files.
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "state.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert done.stdout == "200 None None\n503 storage 1\n200 None None\n", done.stderr


async def test_a_process_that_is_cut_off_from_its_database_is_not_ready_until_it_reaches_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"FRESH_SECONDS": 0.0, "AGAIN_SECONDS": 0.0, "PATIENCE_SECONDS": 60.0}.items():
        monkeypatch.setattr(f"hostedagent.server.readiness.{name}", value)
    with schema() as name:
        async with relay() as network:
            stores = postgres_stores(network.dsn, schema=name, timeout=1.0)
            async with serve(AgentHost(ScriptedAgent(), stores=stores).app) as client, asyncio.timeout(PATIENCE):
                while await answered(client) != (200, None):
                    pass
                network.cut()
                assert await answered(client) == (503, "storage")
                network.mend()
                while await answered(client) != (200, None):
                    pass


@contextmanager
def no_descriptors() -> Generator[None]:
    """A process that may open nothing more than it has open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("driver", ["agentserver", "starlette"])
async def test_a_process_without_descriptors_is_not_ready_until_it_has_some(driver: Driver) -> None:
    async with serve(AgentHost(ScriptedAgent(), stores=memory_stores(), driver=driver).app) as client:
        assert await answered(client) == (200, None)
        with no_descriptors():
            assert await answered(client) == (503, "descriptors")
        assert await answered(client) == (200, None)


@pytest.mark.parametrize(("spare", "is_used_up"), [(8, True), (63, True), (70, False)])
def test_a_process_is_not_ready_before_its_last_descriptor_is_used(
    spare: int, is_used_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limit() -> int:
        return 600

    def lowest(*_: object) -> int:
        return 600 - spare

    def nothing(_: int) -> None:
        return None

    monkeypatch.setattr("hostedagent.server.readiness.descriptor_limit", limit)

    class System:
        devnull, O_RDONLY = os.devnull, os.O_RDONLY
        open, close = staticmethod(lowest), staticmethod(nothing)

    monkeypatch.setattr("hostedagent.server.readiness.os", System)

    assert are_descriptors_used_up() is is_used_up
