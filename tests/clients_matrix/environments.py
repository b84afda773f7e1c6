"""The clients' environments: which there are, where they are, and how they are created.

`python -m tests.clients_matrix install` creates them. They are kept in a cache directory outside of the tree, below a
name with the hash of what they contain, so that a changed pin is a new environment. An environment exists once it is
complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_FILE: Final = Path(__file__).with_name("environments.toml")
_VARIABLE: Final = "HOSTEDAGENT_CLIENTS"


def cache() -> Path:
    """The directory that the environments are kept in."""
    if given := os.environ.get(_VARIABLE):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hostedagent" / "clients"


@dataclass(frozen=True, slots=True)
class Environment:
    """The packages of one client, for Python or for Node."""

    name: str
    resolved: str
    python: tuple[str, ...]
    node: Mapping[str, str]
    is_quick: bool

    @property
    def path(self) -> Path:
        """Where it is, or would be."""
        contents = json.dumps([self.resolved, self.python, dict(self.node)])
        return cache() / f"{self.name}-{hashlib.sha256(contents.encode()).hexdigest()[:12]}"

    @property
    def is_installed(self) -> bool:
        """Whether it is there, complete."""
        return self.path.is_dir()

    @property
    def versions(self) -> Mapping[str, str]:
        """The version of each package that is named."""
        pairs = (requirement.partition("==") for requirement in self.python)
        return {name.partition("[")[0]: version for name, _, version in pairs} | dict(self.node)

    @property
    def binaries(self) -> Path:
        """The folder of its commands."""
        return self.path / ("bin" if self.python else "node_modules/.bin")

    def install(self) -> None:
        """Create it beside its place and move it there once it is whole, so that an interrupted one is not used."""
        unfinished = self.path.with_name(f"{self.path.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        try:
            if self.python:
                self._install_python(unfinished)
            else:
                self._install_node(unfinished)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        unfinished.rename(self.path)

    def _install_python(self, folder: Path) -> None:
        # Scripts in `bin` would name the unfinished folder: a relocatable environment finds itself.
        _run(["uv", "venv", "--quiet", "--relocatable", "--clear", "--python", "3.11", str(folder)])
        python = folder / "bin" / "python"
        _run(["uv", "pip", "install", "--python", str(python), "--exclude-newer", self.resolved, *self.python])

    def _install_node(self, folder: Path) -> None:
        manifest = {"private": True, "type": "module", "dependencies": dict(self.node)}
        (folder / "package.json").write_text(json.dumps(manifest), encoding="utf-8")
        _run(["npm", "install", "--no-audit", "--no-fund", "--no-update-notifier", f"--before={self.resolved}"], folder)


def _run(command: Sequence[str], folder: Path | None = None) -> None:
    outside = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "UV_PYTHON")}
    done = subprocess.run(
        command, cwd=folder, env=outside, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def _read() -> Mapping[str, Environment]:
    table: dict[str, Any] = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    resolved = table.pop("resolved")
    return {
        name: Environment(
            name, resolved, tuple(row.get("python", ())), dict(row.get("node", {})), is_quick=row.get("quick", False)
        )
        for name, row in table.items()
    }


ENVIRONMENTS: Final = _read()
