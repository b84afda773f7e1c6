"""A system served in a process of its own, and what that process has used: CPU, resident memory.

Linux only: the CPU clock of another process, and its resident memory, are read from the kernel.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal, TypeAlias
from urllib.error import URLError
from urllib.request import urlopen

from environments import ENVIRONMENTS, HERE, System, python_of

Store: TypeAlias = Literal["memory", "file", "foundry"]

_START_SECONDS: Final = 60.0
_FORGOTTEN: Final = ("OTEL_", "FOUNDRY_", "APPLICATIONINSIGHTS", "AGENTSERVER_", "SSE_", "BENCH_", "PYTHON")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a system is served.

    Args:
        store: Where it keeps what it stores.
        ships_telemetry: Whether the SDK's own set-up of logs and telemetry runs; ours is never changed.
        environment: Variables on top.
        script: What serves it, where that is not the script of its name.
        python: The interpreter, where that is not the system's own.
    """

    store: Store = "memory"
    ships_telemetry: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    script: str | None = None
    python: Path | None = None


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
        "PYTHONPYCACHEPREFIX": str(ENVIRONMENTS / "bytecode"),
        "HOME": str(folder),
        "AGENTSERVER_STATE_ROOT": str(folder / "agentserver"),
        "BENCH_PORT": str(port),
        "BENCH_STORE": setting.store,
        "BENCH_ROOT": str(folder / "store"),
        "BENCH_TELEMETRY": "shipped" if setting.ships_telemetry else "off",
        **dict(setting.environment),
    }


@contextmanager
def serving(system: System, setting: Setting, *arguments: str) -> Generator[Served]:
    """Serve a system until the end of the block.

    Raises:
        RuntimeError: It does not start.
    """
    with started(system, setting, *arguments) as (served, _):
        yield served


@contextmanager
def started(system: System, setting: Setting, *arguments: str) -> Generator[tuple[Served, float]]:
    """Serve a system until the end of the block; also the seconds from the start of its process to readiness.

    Raises:
        RuntimeError: It does not start.
    """
    python = setting.python or python_of(system)
    script = HERE / "served" / (setting.script or f"{system}.py")
    with TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        said = folder / "output.txt"
        for _ in range(3):  # Someone else may take the port before the server does.
            port = free_port()
            with said.open("ab") as output:
                process = subprocess.Popen(
                    [python, *arguments, script],
                    env=variables(setting, folder, port),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            try:
                seconds = _seconds_to_readiness(process, port)
                if seconds is not None:
                    yield Served(system, process.pid, port, folder), seconds
                    return
            finally:
                _end(process)
        raise RuntimeError(f"{system} does not start:\n{said.read_text()[-4000:]}")


def _seconds_to_readiness(process: subprocess.Popen[bytes], port: int) -> float | None:
    start = time.perf_counter()
    while time.perf_counter() - start < _START_SECONDS and process.poll() is None:
        with (
            suppress(URLError, ConnectionError, TimeoutError),
            urlopen(f"http://127.0.0.1:{port}/readiness", timeout=5),
        ):
            return time.perf_counter() - start
        time.sleep(0.005)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
    process.kill()
    process.wait()


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]
