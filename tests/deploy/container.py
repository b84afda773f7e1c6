"""Containers within the limits of the platform's smallest size, run by podman: no daemon, no network but loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

UID: Final = 10001

LIMITS: Final = (
    "--network=none",
    "--cpus=0.5",
    "--memory=1g",
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
)

_INSIDE: Final = Path(__file__).with_name("inside.py")


def podman(*arguments: str, timeout: float = 120) -> str:
    """Run podman; returns what it printed."""
    done = _podman(arguments, timeout)
    assert done.returncode == 0, f"podman {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def in_image(image: str, code: str) -> Any:
    """What a Python program prints as JSON, run by the image's own Python within the limits."""
    return json.loads(podman("run", "--rm", *LIMITS, "--entrypoint=python", image, "-c", code))


def inspect(name: str) -> dict[str, Any]:
    """What podman knows of an image or a container."""
    return json.loads(podman("inspect", name))[0]


@dataclass(frozen=True, slots=True)
class Container:
    """A container that was started."""

    id: str
    pid: int
    began: float
    """Before podman was called."""

    def ready(self) -> tuple[float, float]:
        """Wait until `/readiness` answers 200; the seconds since the start, and those of CPU that were used."""
        seconds = float(self._inside("ready")) - self.began
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return seconds, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def answers(self) -> tuple[int, str]:
        """Wait until `/readiness` answers anything; status and body."""
        status, body = json.loads(self._inside("answers"))
        return status, body

    def ask(self) -> dict[str, Any]:
        """Two turns by the `openai` client; see `inside`."""
        return json.loads(self._inside("ask"))

    def logs(self) -> str:
        """What the container wrote."""
        done = _podman(["logs", self.id], timeout=60)
        return done.stdout + done.stderr

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        podman("stop", "--time=30", self.id)
        return inspect(self.id)["State"]["ExitCode"]

    def status(self) -> dict[str, str]:
        """What the kernel says of the process: `/proc/PID/status`."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def _inside(self, what: str) -> str:
        assert self.pid, f"it ended at once:\n{self.logs()}"
        command = ["nsenter", f"--target={self.pid}", "--net", "--", sys.executable, str(_INSIDE), what, str(self.pid)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, f"{what}:\n{done.stdout}{done.stderr}\nThe container's log:\n{self.logs()}"
        return done.stdout


@contextmanager
def running(image: str, home: Path, *arguments: str, options: Sequence[str] = ()) -> Generator[Container]:
    """Run an image, with `home` as the folder that is kept; at the end it is removed."""
    home.mkdir(exist_ok=True)
    os.chown(home, UID, UID)
    began = time.monotonic()
    mounted = f"--volume={home}:/home/session"
    name = podman("run", "--detach", *LIMITS, mounted, *options, image, *arguments).strip()
    try:
        yield Container(name, inspect(name)["State"]["Pid"], began)
    finally:
        podman("rm", "--force", "--time=0", name)


def _podman(arguments: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
    command = ["podman", "--log-level=fatal", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
