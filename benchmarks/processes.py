"""A system served in a process of its own, and what that process has used: CPU, resident memory.

Linux only: the CPU clock of another process, and its resident memory, are read from the kernel.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal, TypeAlias
from urllib.error import URLError
from urllib.request import urlopen

from environments import HERE, System, python_of

Store: TypeAlias = Literal["memory", "file", "foundry"]

_START_SECONDS: Final = 60.0
_FORGOTTEN: Final = ("OTEL_", "FOUNDRY_", "APPLICATIONINSIGHTS", "AGENTSERVER_", "SSE_", "BENCH_", "PYTHONPATH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a system is served.

    Args:
        store: Where it keeps what it stores.
        ships_telemetry: Whether the SDK's own set-up of logs and telemetry runs; ours is never changed.
        environment: Variables on top.
    """

    store: Store = "memory"
    ships_telemetry: bool = False
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Served:
    """A running server process."""

    system: System
    pid: int
    port: int
    folder: Path

    @property
    def cpu(self) -> float:
        """Seconds of CPU that the process has used so far, all its threads together."""
        return time.clock_gettime((~self.pid << 3) | 2)

    @property
    def resident(self) -> float:
        """Resident memory in MiB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)


def variables(setting: Setting, folder: Path, port: int) -> dict[str, str]:
    """The environment of a server process: nothing from here that would change how a system behaves."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FORGOTTEN)}
    return {
        **kept,
        "HOME": str(folder),
        "AGENTSERVER_STATE_ROOT": str(folder / "agentserver"),
        "BENCH_PORT": str(port),
        "BENCH_STORE": setting.store,
        "BENCH_ROOT": str(folder / "store"),
        "BENCH_TELEMETRY": "shipped" if setting.ships_telemetry else "off",
        **dict(setting.environment),
    }


@contextmanager
def serving(system: System, setting: Setting, *arguments: str) -> Iterator[Served]:
    """Serve a system until the end of the block.

    Raises:
        RuntimeError: It does not start.
    """
    with TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        process, port = _start(system, setting, folder, arguments)
        try:
            yield Served(system, process.pid, port, folder)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()


def _start(system: System, setting: Setting, folder: Path, arguments: tuple[str, ...]) -> tuple[subprocess.Popen[bytes], int]:
    said = folder / "stderr.txt"
    for _ in range(3):  # Someone else may take the port before the server does.
        port = free_port()
        process = launch(system, variables(setting, folder, port), said, *arguments)
        if _is_up(process, port):
            return process, port
        process.kill()
        process.wait()
    raise RuntimeError(f"{system} does not start:\n{said.read_text()[-4000:]}")


def launch(system: System, environment: Mapping[str, str], said: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the process of a system; what it writes goes to a file."""
    command = [python_of(system), *arguments, HERE / "served" / f"{system}.py"]
    with said.open("ab") as stderr:
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr)


def _is_up(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(URLError, ConnectionError, TimeoutError), urlopen(f"http://127.0.0.1:{port}/readiness", timeout=5):
            return True
        time.sleep(0.02)
    return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]
