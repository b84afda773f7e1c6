"""The input of doctor, read once: the project's files, the azd environment, and the environment of this process."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from dotenv import dotenv_values

from hostedagent.cli.loader import usual
from hostedagent.protocol.values import fields_of

AGENT_HOST: Final = "azure.ai.agent"


@dataclass(frozen=True, slots=True)
class Service:
    """A service of `azure.yaml` that is a hosted agent: its key and its settings."""

    key: str
    body: Mapping[str, Any]

    @property
    def path(self) -> str:
        """Its path in the file, for messages."""
        return f"services.{self.key}"

    @property
    def env(self) -> Mapping[str, Any]:
        """The variables of the agent version; empty if they are not a map."""
        return fields_of(self.body.get("env"))

    def at(self, *keys: str) -> Any:
        """The value below these keys; `None` if there is none."""
        value: Any = self.body
        for key in keys:
            value = fields_of(value).get(key)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project's folder and everything that decides how its agent runs.

    Args:
        process: The environment of this process.
        dotenv: `.env`, for runs on this machine.
        azd_name: The azd environment that is selected; `""` if there is none.
        azd: Its values.
        config: `azure.yaml`; `None` if it is missing or broken.
        broken: Why `azure.yaml` cannot be read.
        wanted: The agent that the user named; `None` to look for one.
    """

    folder: Path
    process: Mapping[str, str]
    dotenv: Mapping[str, str] = field(default_factory=dict[str, str])
    azd_name: str = ""
    azd: Mapping[str, str] = field(default_factory=dict[str, str])
    config: Mapping[str, Any] | None = None
    broken: str = ""
    wanted: str | None = None

    @classmethod
    def read(cls, folder: Path, process: Mapping[str, str] | None = None, *, wanted: str | None = None) -> Project:
        """Read a project."""
        process = dict(os.environ if process is None else process)
        azd_name = process.get("AZURE_ENV_NAME") or _default_environment(folder)
        config, broken = _config(folder)
        return cls(
            folder=folder,
            process=process,
            dotenv=_variables(folder / ".env"),
            azd_name=azd_name,
            azd=_variables(folder / ".azure" / azd_name / ".env") if azd_name else {},
            config=config,
            broken=broken,
            wanted=wanted,
        )

    @property
    def local(self) -> Mapping[str, str]:
        """The environment of a run on this machine: the process's own values go before those of `.env`."""
        return {**self.dotenv, **self.process}

    @property
    def target(self) -> str | None:
        """The target to serve: the user's, else that of `azure.yaml`, else the file with a usual name."""
        served = [_served(service.at("startupCommand"), self.folder) for service in self.agents]
        return self.wanted or next((name for name in served if name), None) or usual(self.folder)

    @property
    def agents(self) -> list[Service]:
        """The hosted agents of `azure.yaml`."""
        services = fields_of((self.config or {}).get("services"))
        bodies = [(str(key), fields_of(body)) for key, body in services.items()]
        return [Service(key, body) for key, body in bodies if body.get("host") == AGENT_HOST]

    def text(self, name: str) -> str | None:
        """The text of a file of the project; `None` if there is none."""
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None


def started(command: object) -> list[str]:
    """The Python files that a command names."""
    return [_file(word) for word in _words(command)]


def _served(command: object, folder: Path) -> str | None:
    return next((word for word in _words(command) if (folder / _file(word)).is_file()), None)


def _words(command: object) -> list[str]:
    return re.findall(r"\S+\.py(?::\S+)?", command) if isinstance(command, str) else []


def _file(word: str) -> str:
    return re.sub(r":[^/\\]+$", "", word)


def _variables(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    # Not expanded, because azd writes and reads values verbatim.
    read = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: value or "" for name, value in read.items()}


def _default_environment(folder: Path) -> str:
    try:
        read: object = json.loads((folder / ".azure" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(fields_of(read).get("defaultEnvironment") or "")


def _config(folder: Path) -> tuple[Mapping[str, Any] | None, str]:
    try:
        text = (folder / "azure.yaml").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None, ""
    except (OSError, UnicodeDecodeError) as error:
        return None, str(error)
    try:
        read: object = yaml.safe_load(text)
    except yaml.YAMLError as error:
        return None, " ".join(str(error).split())
    config = fields_of(read)
    return (config, "") if config else (None, "it is not a map of names to values")
