"""One run of a suite in a process of its own: its tests are called `tests` too, and patch what is global."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

from .differences import SUITES
from .sources import tests_of

Driver: TypeAlias = Literal["agentserver", "starlette"]
DRIVERS: Final[tuple[Driver, ...]] = ("agentserver", "starlette")
TIMEOUT: Final = 60


def run(suite: str, driver: str) -> Mapping[str, str]:
    """How each test ended: its id to `passed`, `failed` or `skipped`."""
    package, paths = SUITES[suite]
    folder = tests_of(package)
    options = ["-p", "no:cacheprovider", "-p", "no:hostedagent", "-p", "substitute.plugin", "-o", "asyncio_mode=auto"]
    with tempfile.TemporaryDirectory() as made:
        outcomes = Path(made) / "outcomes.json"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--tb=no", f"--timeout={TIMEOUT}", "-n", "2", *options, *paths],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parent),
                "SUBSTITUTE_DRIVER": driver,
                "SUBSTITUTE_OUTCOMES": str(outcomes),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if not outcomes.is_file():
            raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return json.loads(outcomes.read_text(encoding="utf-8"))
