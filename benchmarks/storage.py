"""The Foundry emulator beside the servers, with a latency, and the calls that came."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from environments import HERE
from processes import Setting

_WAIT_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Storage:
    """A running emulator."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def setting(self) -> Setting:
        """How a system is served on it, as the platform would."""
        environment: dict[str, str] = _read(self.process, self.folder / "environment.json")
        named = {"FOUNDRY_AGENT_NAME": "words", "FOUNDRY_AGENT_SESSION_ID": "benchmark"}
        return Setting(store="foundry", environment=tuple((environment | named).items()))

    def calls(self) -> Counter[str]:
        """How often each route has been called since it was last asked."""
        out = self.folder / "calls.json"
        out.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        return Counter(_read(self.process, out))


@contextmanager
def foundry(latency: float) -> Generator[Storage]:
    """Run an emulator whose every answer takes at least so many seconds."""
    with TemporaryDirectory(prefix="benchmark-storage-") as name:
        environment = {**os.environ, "BENCH_ROOT": name, "BENCH_LATENCY": str(latency)}
        process = subprocess.Popen([sys.executable, HERE / "served" / "storage.py"], env=environment)
        try:
            storage = Storage(process, Path(name))
            _read(process, storage.folder / "environment.json")
            yield storage
        finally:
            process.terminate()
            process.wait()


def _read(process: subprocess.Popen[bytes], path: Path) -> Any:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not path.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the emulator wrote no {path.name}")
        time.sleep(0.02)
    return json.loads(path.read_text())
