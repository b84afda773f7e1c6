"""The Python that each system runs in. Peers get environments of their own, made on first use in `.venv-benchmarks/`.

They are given the versions of the SDK, of Agent Framework and of the web servers that this environment has, so that
what differs between two systems is the system.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

System: TypeAlias = Literal["ours", "sdk", "thin", "agent", "helpers", "peer"]
SYSTEMS: Final[tuple[System, ...]] = get_args(System)

HERE: Final = Path(__file__).parent
ENVIRONMENTS: Final = HERE.parent / ".venv-benchmarks"

_PACKAGES: Final[dict[System, tuple[str, ...]]] = {
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
    "hypercorn",
    "starlette",
)


def python_of(system: System) -> Path:
    """The interpreter that serves a system; the first call for a peer installs it."""
    packages = _PACKAGES.get(system)
    if packages is None:
        return Path(sys.executable)
    return _environment(system, [*packages, *_pins(_SHARED if system == "peer" else _SHARED[:1])])


def python_with_servers() -> Path:
    """An interpreter with this project and every ASGI server that it might run on."""
    pins = _pins(tuple(name for name in _SHARED if name != "starlette"))
    return _environment("servers", ["--editable", str(HERE.parent), "granian", "uvicorn[standard]", "uvloop", *pins])


def _environment(name: str, wanted: Sequence[str]) -> Path:
    folder = ENVIRONMENTS / name
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"Making the environment of {name} in {folder} ...", file=sys.stderr)
        subprocess.run(["uv", "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, *wanted], check=True)
        (folder / "complete").touch()
    return python


def _pins(names: Sequence[str]) -> list[str]:
    return [f"{name}=={found}" for name in names if (found := _version(name))]


def versions(systems: Sequence[System]) -> dict[System, list[str]]:
    """What each system runs on, the servers included."""
    return {system: _installed(system) for system in systems if system not in ("sdk", "thin", "agent")}


def _installed(system: System) -> list[str]:
    names = [*_SHARED, "uvicorn", "uvloop", "httptools", "granian", "hostedagent"]
    names += [name for package in _PACKAGES.get(system, ()) if (name := package.partition(">")[0]) not in names]
    script = (
        "import importlib.metadata as m\n"
        f"for name in {names!r}:\n"
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
