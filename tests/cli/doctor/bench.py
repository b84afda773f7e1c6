"""A healthy project on a healthy machine, and the means to break them."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hostedagent.cli.doctor import checks
from hostedagent.cli.doctor.project import Project
from hostedagent.cli.doctor.report import Report
from hostedagent.cli.doctor.rules import Finding, Rule
from hostedagent.templates import LOCK, Choices, render

ENDPOINT = "https://contoso.services.ai.azure.com/api/projects/shop"
SCOPE = "/subscriptions/0/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/a/projects/p"


@dataclass(slots=True)
class Bench:
    """A project of `init` in `folder`, seen by a process with the environment `process`."""

    folder: Path
    process: dict[str, str]
    monkeypatch: pytest.MonkeyPatch
    sockets: list[socket.socket] = field(default_factory=list[socket.socket])
    wanted: str | None = None

    @classmethod
    def set_up(cls, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
        project, home, tools = folder / "my-agent", folder / "home", folder / "bin"
        for name, text in render(Choices(name="my-agent")).items():
            _write(project / name, text)
        _write(
            project / LOCK, "hostedagent[foundry]==99.0 \\\n    --hash=sha256:00\naiohttp==3.14.5 --hash=sha256:00\n"
        )
        _write(tools / "azd", "#!/bin/sh\n").chmod(0o755)
        # As if it came from an index, however these tests have it.
        monkeypatch.setattr("hostedagent.cli.init.uv.installed_from", lambda: None)
        _write(home / ".azd" / "auth.json", json.dumps({"auth": {"account": {"currentUser": {"homeAccountID": "1"}}}}))
        return cls(project, {"HOME": str(home), "PATH": str(tools)}, monkeypatch)

    def write(self, name: str, text: str) -> None:
        _write(self.folder / name, text)

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text(encoding="utf-8")
        assert old in text, f"{name} has no {old!r}"
        self.write(name, text.replace(old, new))

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()

    def azd(self, **values: str) -> None:
        """Select an azd environment with these values."""
        self.write(".azure/config.json", json.dumps({"version": 1, "defaultEnvironment": "dev"}))
        self.write(".azure/dev/.env", "".join(f'{name}="{value}"\n' for name, value in values.items()))

    def sign_out(self) -> None:
        (Path(self.process["HOME"]) / ".azd" / "auth.json").unlink()

    def distribution(self, name: str, version: str, *lines: str) -> None:
        """Have a package installed, before any other of that name."""
        site = self.folder.parent / "site"
        head = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
        _write(site / f"{name.replace('-', '_')}-{version}.dist-info" / "METADATA", "\n".join([*head, *lines, ""]))
        self.monkeypatch.setattr(sys, "path", [str(site), *sys.path])

    def busy_port(self) -> int:
        """A port that somebody listens on."""
        taken = socket.socket()
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        self.sockets.append(taken)
        return int(taken.getsockname()[1])

    def project(self) -> Project:
        return Project.read(self.folder, self.process, wanted=self.wanted)

    def findings(self, check: str, *, is_online: bool = False) -> list[Finding]:
        return list(checks(is_online=is_online)[check](self.project()))

    def report(self, check: str) -> Report:
        return Report(folder="my-agent", findings={check: self.findings(check)}, packages=[], variables=[])


@dataclass(frozen=True, slots=True)
class Case:
    """A way to break the bench, what finds it, and the fix that is printed."""

    code: str
    check: str
    breaks: Callable[[Bench], object]
    fix: str


def rules() -> dict[str, Rule]:
    """Every rule there is, by its code."""
    checks()  # Imports them.
    prefix = "hostedagent.cli.doctor."
    modules = [module for name, module in sys.modules.items() if name.startswith(prefix)]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, Rule)]
    return {rule.code: rule for rule in found}


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
