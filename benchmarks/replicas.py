"""What replicas on PostgreSQL cost and how they scale: `python -m benchmarks.replicas [--seconds 10] [--turns 100000]`.

Prints one table. It runs a PostgreSQL of its own, replicas as processes and one client process, all on this machine:
compare figures of one run with each other.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
from agent_framework import Agent
from tests.chaos.fleet import Database

from hostedagent import AgentHost, HostOptions, memory_stores, postgres_stores, sqlite_stores
from hostedagent.identity import Caller
from hostedagent.stores.base import LoggedEvent
from hostedagent.testing import OfflineChatClient

PROJECT: Final = Path(__file__).parents[1]
WORDS: Final = 50
CLIENTS: Final = 8
FEW_TURNS: Final = 1_000
TICKS: Final = os.sysconf("SC_CLK_TCK")
CALLER: Final = Caller()


def serve(kind: str, where: str) -> None:
    """One replica in this process."""
    stores = {
        "memory": memory_stores,
        "sqlite": lambda: sqlite_stores(where),
        "postgres": lambda: postgres_stores(where),
    }

    def answer(messages: Sequence[Any], _: Any) -> list[Any]:
        if "stream" not in messages[-1].text:
            return ["word " * WORDS]
        return [piece for _ in range(WORDS) for piece in ("word ", lambda: asyncio.sleep(0.01))]

    options = HostOptions(max_turns=50, max_waiting=1_000)
    # One rule for every call.
    agent = Agent(OfflineChatClient(script=[answer] * 1_000_000))
    host = AgentHost(agent, driver="starlette", stores=stores[kind](), options=options)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(500)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        host.run(listener=listener, on_listening=lambda: print(url, flush=True))


@dataclass(slots=True)
class Replica:
    """A replica in a process."""

    process: asyncio.subprocess.Process
    url: str

    @property
    def cpu(self) -> float:
        """The CPU seconds that it has used."""
        return _cpu(self.process.pid)[0]


@asynccontextmanager
async def replicas(count: int, kind: str, where: str) -> AsyncGenerator[list[Replica]]:
    """Replicas on the same store."""
    async with AsyncExitStack() as stack:
        made: list[Replica] = []
        for _ in range(count):
            command = [sys.executable, "-m", "benchmarks.replicas", "--serve", kind, where]
            process = await asyncio.create_subprocess_exec(
                *command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=PROJECT
            )
            stack.push_async_callback(_ended, process)
            assert process.stdout is not None
            made.append(Replica(process, (await process.stdout.readline()).decode().strip()))
        yield made


async def _ended(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):  # It was killed already.
        process.kill()
    await process.wait()


def _cpu(pid: int) -> tuple[float, float]:
    """The CPU seconds of a process, and those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS, (int(fields[13]) + int(fields[14])) / TICKS


class Server(Database):
    """The database, with what it uses."""

    @property
    def cpu(self) -> float:
        """The CPU seconds of all its processes."""
        parent = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        used = sum(_cpu(parent))
        for child in children:
            with suppress(FileNotFoundError):  # It has ended just now.
                used += _cpu(int(child))[0]
        return used

    def ask(self, statement: str) -> Any:
        """The first value of the first row."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description is not None else None
        return row[0] if row is not None else None


async def stored_turn(client: httpx.AsyncClient, url: str) -> float:
    began = time.perf_counter()
    (await client.post(f"{url}/responses", json={"input": "hi"})).raise_for_status()
    return time.perf_counter() - began


async def turns(urls: Sequence[str], *, seconds: float, clients: int = CLIENTS) -> tuple[list[float], float]:
    """How long stored turns took, by so many clients at once, each at the next replica; and the seconds of all."""
    took = list[float]()

    async def ask(client: httpx.AsyncClient, number: int) -> None:
        while not took or time.perf_counter() < began + seconds:
            number += 1
            took.append(await stored_turn(client, urls[number % len(urls)]))

    async with httpx.AsyncClient(timeout=None, verify=False) as client:
        began = time.perf_counter()
        await asyncio.gather(*(ask(client, number) for number in range(clients)))
        return took, time.perf_counter() - began


async def followed(url: str, *, seconds: float) -> int:
    """How many events background streams had, by clients that read them to their end."""
    events, body = 0, {"input": "stream", "background": True, "stream": True}

    async def follow(client: httpx.AsyncClient) -> None:
        nonlocal events
        while not events or time.perf_counter() < began + seconds:
            async with client.stream("POST", f"{url}/responses", json=body) as reply:
                async for line in reply.aiter_lines():
                    events += line.startswith("data: ")

    async with httpx.AsyncClient(timeout=None, verify=False) as client:
        began = time.perf_counter()
        await asyncio.gather(*(follow(client) for _ in range(CLIENTS)))
    return events


async def latency(dsn: str, count: int = 300) -> list[float]:
    """Seconds from an event that one process appends to a follower at another."""
    one, two = postgres_stores(dsn), postgres_stores(dsn)
    assert one.events is not None and two.events is not None
    took, sent = list[float](), list[float]()
    await one.events.append(CALLER, "followed", [LoggedEvent(0, b"{}")])
    await two.aopen()
    arrived = asyncio.Event()

    async def follow() -> None:
        assert two.events is not None
        async for batch in two.events.subscribe(CALLER, "followed", after=0):
            took.extend(time.perf_counter() - sent[event.number - 1] for event in batch)
            arrived.set()

    following = asyncio.create_task(follow())
    for number in range(1, count + 1):
        arrived.clear()
        sent.append(time.perf_counter())
        await one.events.append(CALLER, "followed", [LoggedEvent(number, b"x" * 180)])
        await arrived.wait()
    await one.events.finish(CALLER, "followed")
    await following
    await asyncio.gather(one.aclose(), two.aclose())
    return took


async def detection(server: Server, count: int = 10) -> list[float]:
    """Seconds from kill -9 until another process finds the dead one."""
    took = list[float]()
    stores = postgres_stores(server.dsn)
    await stores.aopen()
    for _ in range(count):
        before = {await stores.signals.name()}
        async with replicas(1, "postgres", server.dsn) as (replica,):
            names: set[str] = set(server.ask("SELECT array_agg(name) FROM hostedagent.processes")) - before
            living = [name for name in names if not await stores.signals.is_dead(name)]
            replica.process.send_signal(signal.SIGKILL)
            began = time.perf_counter()
            while not all([await stores.signals.is_dead(name) for name in living]):
                pass
            took.append(time.perf_counter() - began)
    await stores.aclose()
    return took


def _multiplied(server: Server, wanted: int) -> None:
    """Copy the records until there are as many turns, under other keys."""
    have = server.ask("SELECT count(*) FROM hostedagent.records") // 3
    server.ask(
        "INSERT INTO hostedagent.records (key, etag, expires_at, expires_hour, value) "
        "SELECT sha256(r.key || uuid_send(gen_random_uuid())), r.etag, r.expires_at, r.expires_hour, r.value "
        f"FROM hostedagent.records r, generate_series(1, {max(wanted // have - 1, 1)}) AS n "
        "WHERE expires_at > now() + interval '1 day'"
    )
    server.ask("ANALYZE hostedagent.records")


def _sizes(server: Server) -> str:
    table, index, rows = (
        server.ask(f"SELECT {what} FROM (SELECT 'hostedagent.records'::regclass AS t) AS one")
        for what in ("pg_table_size(t)", "pg_indexes_size(t)", "(SELECT count(*) FROM hostedagent.records)")
    )
    return f"{rows:,} records, table {table / rows:.0f} and indexes {index / rows:.0f} bytes each"


def _ms(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    return f"p50 {statistics.median(ordered) * 1e3:.1f} ms, p99 {ordered[int(len(ordered) * 0.99)] * 1e3:.1f} ms"


def _row(name: str, value: str) -> None:
    print(f"| {name} | {value} |", flush=True)


async def measure(server: Server, folder: Path, *, seconds: float, many: int) -> None:
    """Print all rows."""
    for count in (1, 2, 3):
        async with replicas(count, "postgres", server.dsn) as made:
            await turns([replica.url for replica in made], seconds=1)
            took, during = await turns([replica.url for replica in made], seconds=seconds)
        _row(f"stored turns, {CLIENTS} clients, {count} replicas", f"{len(took) / during:.0f} a second, {_ms(took)}")
    for kind, where in (("memory", ""), ("sqlite", str(folder / "state.db")), ("postgres", server.dsn)):
        async with replicas(1, kind, where) as (replica,):
            await turns([replica.url], seconds=1)
            host, database = replica.cpu, server.cpu
            done = len((await turns([replica.url], seconds=seconds))[0])
            host, database = replica.cpu - host, server.cpu - database
            text = f"host {host / done * 1e3:.2f} ms"
            if kind == "postgres":
                text += f", PostgreSQL {database / done * 1e3:.2f} ms"
            _row(f"a stored turn on {kind}, CPU", text)
            host, database = replica.cpu, server.cpu
            events = await followed(replica.url, seconds=seconds)
            host, database = replica.cpu - host, server.cpu - database
            more = f", PostgreSQL {database / events * 1e6:.0f} us" if kind == "postgres" else ""
            _row(f"an event of a followed background stream on {kind}, CPU", f"host {host / events * 1e6:.0f} us{more}")
    _row("an event from one replica to a follower on another", _ms(await latency(server.dsn)))
    _row("a replica killed with -9 is found dead after", _ms(await detection(server)))
    for wanted in (FEW_TURNS, many):
        _multiplied(server, wanted)
        async with replicas(1, "postgres", server.dsn) as (replica,):
            await turns([replica.url], seconds=1, clients=1)
            took, _ = await turns([replica.url], seconds=seconds, clients=1)
        _row(f"the next turn after {wanted:,} or more", f"{_ms(took)}; {_sizes(server)}")


def main() -> None:
    """Measure, or serve as a replica that is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--turns", type=int, default=100_000)
    parser.add_argument("--serve", nargs=2, metavar=("STORE", "WHERE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(*given.serve)
        return
    with tempfile.TemporaryDirectory(prefix="replicas-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = Server(folder / "db")
        try:
            asyncio.run(measure(server, folder, seconds=given.seconds, many=given.turns))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
