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
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg

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
    """A replica, at a port that its successors have too."""

    port: int
    relay: Relay
    lease: float
    effects: Path
    log: Path
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = [sys.executable, "-m", "tests.chaos.replica", self.relay.dsn, str(self.port), str(self.lease)]
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, str(self.effects), cwd=PROJECT, stdout=asyncio.subprocess.PIPE, stderr=log
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


def free_ports(count: int) -> list[int]:
    """Ports that are free now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def configured(port: int, replicas: list[int], folder: Path) -> str:
    """The configuration of the sample, for processes of this machine instead of containers."""
    servers = "\n        ".join(f"server 127.0.0.1:{number} max_fails=1 fail_timeout=1s;" for number in replicas)
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};\n    " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    changes = {
        "resolver 127.0.0.11 valid=2s;": f"access_log off;\n    {paths}",
        "server agent:8088 resolve;": servers,
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
async def fleet(count: int, *, lease: float) -> AsyncGenerator[Fleet]:
    """Replicas behind nginx, on a database."""
    folder = _folder()
    port, *ports = free_ports(count + 1)
    database = await asyncio.to_thread(Database, folder / "db")
    made = Fleet(database, f"http://127.0.0.1:{port}", effects=folder / "effects")
    servers: list[asyncio.Server] = []
    proxy: asyncio.subprocess.Process | None = None
    try:
        for number in ports:
            relay = Relay(database.dsn)
            servers.append(server := await asyncio.start_server(relay.serve, "127.0.0.1", 0))
            relay.port = server.sockets[0].getsockname()[1]
            made.replicas.append(Replica(number, relay, lease, made.effects, folder / f"{number}.log"))
        await made.replicas[0].start()
        await asyncio.gather(*(replica.start() for replica in made.replicas[1:]))
        (folder / "nginx.conf").write_text(configured(port, ports, folder))
        globally = f"daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;" + (
            " user root;" if os.getuid() == 0 else ""
        )
        proxy = await asyncio.create_subprocess_exec(
            "nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", globally, stderr=subprocess.DEVNULL
        )
        yield made
    finally:
        for replica in made.replicas:
            replica.send(signal.SIGCONT)
            with suppress(ProcessLookupError):
                await replica.end(signal.SIGKILL)
        if proxy is not None:
            proxy.terminate()
            await proxy.wait()
        for server in servers:
            server.close()
        await asyncio.to_thread(database.stop)
        if "CHAOS_KEEP" not in os.environ:
            shutil.rmtree(folder, ignore_errors=True)
