"""The Python that each system runs in: environments of their own with nothing else, made on first use.

They are in `.venv-benchmarks/`. All are given the versions of the SDK, of Agent Framework and of the web servers that
this environment has, so that what differs between two systems is the system.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

System: TypeAlias = Literal["ours", "own", "sdk", "thin", "agent", "floor", "helpers", "peer"]
SYSTEMS: Final[tuple[System, ...]] = get_args(System)

HERE: Final = Path(__file__).parent
ENVIRONMENTS: Final = HERE.parent / ".venv-benchmarks"

_PACKAGES: Final[dict[System, tuple[str, ...]]] = {
    "ours": ("--editable", str(HERE.parent)),
    # A version with a letter in it lets the resolver take pre-releases of this package, and of no other.
    "peer": ("agent-framework-foundry-hosting>=1.0.0a0",),
    "helpers": (
        "agent-framework-hosting-responses>=1.0.0a0",
        "agent-framework-hosting>=1.0.0a0",
        "uvicorn",
        "starlette",
    ),
}
_SHARED: Final = (
    "agent-framework-core",
    "azure-ai-agentserver-core",
    "azure-ai-agentserver-responses",
    "azure-core",
    "h11",
    "httptools",
    "hypercorn",
    "starlette",
    "uvicorn",
)
"""Of these, what a system does not depend on is not installed for it."""

_ON_OURS: Final = ("own", "sdk", "thin", "agent", "floor")
"""Scripts of a few lines in the environment of ours."""


def python_of(system: System) -> Path:
    """The interpreter that serves a system; the first call installs it."""
    name = "ours" if system in _ON_OURS else system
    return _environment(name, _PACKAGES[name])


def python_with_servers() -> Path:
    """An interpreter with this project and every ASGI server that it might run on."""
    return _environment("servers", [*_PACKAGES["ours"], "granian", "uvicorn[standard]", "uvloop"])


def _environment(name: str, packages: Sequence[str]) -> Path:
    folder = ENVIRONMENTS / name
    python, complete = folder / "bin" / "python", folder / "complete"
    pins = "\n".join(f"{shared}=={found}" for shared in _SHARED if (found := _version(shared)))
    wanted = "\n".join([*packages, pins, *(requires("hostedagent") or ())])
    ENVIRONMENTS.mkdir(exist_ok=True)
    with (ENVIRONMENTS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Another run may be making it.
        if not complete.exists() or complete.read_text() != wanted:
            print(f"Making the environment of {name} in {folder} ...", file=sys.stderr)
            _uv("venv", "--clear", "--python", sys.executable, str(folder))
            (constraints := folder / "constraints.txt").write_text(pins)
            _uv("pip", "install", "--python", str(python), "--constraints", str(constraints), *packages)
            complete.write_text(wanted)
    return python


def _uv(*arguments: str) -> None:
    subprocess.run([os.environ.get("UV", "uv"), "--quiet", *arguments], check=True)  # `uv run` says where it is.


def versions(systems: Sequence[System]) -> dict[System, list[str]]:
    """What each system runs on, the servers included."""
    return {system: _installed(system) for system in systems if system not in _ON_OURS}


def _installed(system: System) -> list[str]:
    names = [*_SHARED, "uvloop", "granian", "hostedagent"]
    own = [package.partition(">")[0] for package in _PACKAGES[system] if ">" in package]
    script = (
        "import importlib.metadata as m\n"
        f"for name in {[*dict.fromkeys([*names, *own])]!r}:\n"
        "    try: print(name, m.version(name))\n"
        "    except m.PackageNotFoundError: pass"
    )
    return subprocess.run(
        [python_of(system), "-c", script], check=True, capture_output=True, text=True
    ).stdout.splitlines()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
