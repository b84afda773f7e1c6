"""What is broken: a database, a network to it for each replica, the replicas, and a proxy in front of them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.chaos.names import named
from tests.postgres.relay import Relay

PROJECT: Final = Path(__file__).parents[2]
CONFIGURATION: Final = PROJECT / "samples" / "self_hosted" / "nginx.conf"


class Database:
    """A PostgreSQL of its own, which can be restarted."""

    def __init__(self, folder: Path) -> None:
        from hostedagent.stores.postgres.embedded import start

        self._server = start(folder)
        self.dsn = self._server.dsn
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute("SHOW data_directory").fetchone()
        assert row is not None
        self._data = Path(row[0])
        number = (self._data / "postmaster.pid").read_text().split()[0]
        self._control = Path(f"/proc/{number}/exe").readlink().parent / "pg_ctl"

    def restart(self) -> None:
        self._run("restart", "-m", "fast", "-l", str(self._data / "log"))

    def stop(self) -> None:
        self._server.stop()  # That is, if it is still the process that was started first.
        if (self._data / "postmaster.pid").exists():
            self._run("stop", "-m", "immediate")

    def _run(self, *arguments: str) -> None:
        owner = self._data.stat()
        as_owner: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid} if os.getuid() == 0 else {}
        command = [str(self._control), "-w", "-D", str(self._data), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self._data, **as_owner)


@dataclass(slots=True)
class Replica:
    """A replica, at an address that its successors have too."""

    address: str
    port: int
    relay: Relay
    lease: float
    effects: Path
    log: Path
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = [sys.executable, "-m", "tests.chaos.replica", self.relay.address(), self.address, str(self.port)]
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, str(self.lease), str(self.effects), cwd=PROJECT, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        assert self.process.stdout is not None
        assert await self.process.stdout.readline() == b"ready\n", self.log.read_text()[-3000:]

    def send(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)

    async def end(self, number: signal.Signals) -> None:
        self.send(number)
        if self.process is not None:
            await self.process.wait()


@dataclass(slots=True)
class Fleet:
    """Everything."""

    database: Database
    url: str
    replicas: list[Replica] = field(default_factory=list[Replica])
    effects: Path = Path()


def free_port(addresses: Sequence[str]) -> int:
    """A port that is free now at all these addresses of this machine."""
    while True:
        with ExitStack() as stack:
            port = 0
            try:
                for address in addresses:
                    probe = stack.enter_context(socket.socket())
                    probe.bind((address, port))
                    port = int(probe.getsockname()[1])
            except OSError:
                continue
            return port


def configured(port: int, replicas: int, names: int, folder: Path) -> str:
    """The configuration of the sample with other ports and folders, and a name server of ours instead of Docker's."""
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};\n    " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    changes = {
        "resolver 127.0.0.11 valid=2s;": f"access_log off;\n    {paths}resolver 127.0.0.1:{names} valid=2s;",
        "agent:8088": f"agent:{replicas}",
        "listen 8088;": f"listen 127.0.0.1:{port};",
    }
    text = CONFIGURATION.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def _folder() -> Path:
    """A folder that the users of the database and of the proxy may enter."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.chmod(0o755)
    return folder


@asynccontextmanager
async def proxied(port: int, addresses: Sequence[str], folder: Path) -> AsyncGenerator[str]:
    """The proxy of the sample in front of replicas at one port of several addresses; gives its URL."""
    own = free_port(["127.0.0.1"])
    async with named(addresses) as names:
        (folder / "nginx.conf").write_text(configured(own, port, names, folder))
        globally = f"daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;" + (
            " user root;" if os.getuid() == 0 else ""
        )
        command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", globally]
        proxy = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
        try:
            yield f"http://127.0.0.1:{own}"
        finally:
            proxy.terminate()
            await proxy.wait()


@asynccontextmanager
async def fleet(count: int, *, lease: float) -> AsyncGenerator[Fleet]:
    """Replicas behind nginx, on a database."""
    folder = _folder()
    addresses = [f"127.0.0.{number + 2}" for number in range(count)]
    port = free_port(addresses)
    database = await asyncio.to_thread(Database, folder / "db")
    made = Fleet(database, "", effects=folder / "effects")
    made.effects.mkdir()
    async with AsyncExitStack() as stack:
        stack.callback(_removed, folder)
        stack.push_async_callback(asyncio.to_thread, database.stop)
        for address in addresses:
            relay = Relay(database.dsn)
            server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
            stack.callback(server.close)
            relay.port = server.sockets[0].getsockname()[1]
            replica = Replica(address, port, relay, lease, made.effects, folder / f"{address}.log")
            made.replicas.append(replica)
            stack.push_async_callback(_ended, replica)
        await made.replicas[0].start()
        await asyncio.gather(*(replica.start() for replica in made.replicas[1:]))
        made.url = await stack.enter_async_context(proxied(port, addresses, folder))
        yield made


async def _ended(replica: Replica) -> None:
    with suppress(ProcessLookupError):
        replica.send(signal.SIGCONT)
        await replica.end(signal.SIGKILL)


def _removed(folder: Path) -> None:
    if "CHAOS_KEEP" not in os.environ:
        shutil.rmtree(folder, ignore_errors=True)
