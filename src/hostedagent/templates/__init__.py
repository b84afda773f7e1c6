"""The files that `hostedagent init` writes: those below `project`, and the `infra` folder of this product.

They are the files of a project called `my-agent` on the model `gpt-5.4-mini`. Rendering replaces these two names, and
decides about the lines with a mark: `...  #? tools !workflow` is kept, without its mark, for projects that have the
feature `tools` and not `workflow`; a line that is nothing but a mark opens such a block, and a bare `#?` ends it.

`infra` is one folder with one home: it is at the root of a checkout, and below `project` in a wheel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal, TypeAlias

Feature: TypeAlias = Literal["tools", "approvals", "mcp", "workflow"]
Provider: TypeAlias = Literal["foundry", "azure", "openai", "offline"]
Deployment: TypeAlias = Literal["container", "code"]
Protocol: TypeAlias = Literal["invocations"]

FEATURES: Final[dict[Feature, str]] = {
    "tools": "a function that the model may call",
    "approvals": "a tool that asks the caller first, beside the one of `tools`",
    "mcp": "the tools of an MCP server, which is a small one of the project's own until you name another",
    "workflow": "two agents, one after the other, in place of one",
}
"""Feature to what it adds."""

PROVIDERS: Final[dict[Provider, str]] = {
    "foundry": "a deployment in the Foundry project",
    "azure": "a deployment of Azure OpenAI",
    "openai": "OpenAI, or a server that is compatible with it",
    "offline": "none yet: a stand-in, to be replaced",
}
"""Provider of the model to what it is."""

DEPLOYMENTS: Final[dict[Deployment, str]] = {
    "container": "an image, built in the registry",
    "code": "a zip of the code, whose dependencies the platform installs",
}
"""The ways to deploy. Each is a mark, and brings files of its own."""

PROTOCOLS: Final[dict[Protocol, str]] = {
    "invocations": "an application's own JSON: whole, streamed, or over a WebSocket",
}
"""The protocols that a project may serve besides Responses. Each is a mark."""

_FILES: Final[dict[str, Deployment]] = {
    ".agentignore": "code",
    ".dockerignore": "container",
    "Dockerfile": "container",
    "requirements.txt": "code",
}
"""The files that only one way to deploy needs."""

_REGISTRY: Final = "${INCLUDE_REGISTRY=true}"
"""In the parameters of `infra`: code deployment needs no registry."""

DEFAULT_MODEL: Final = "gpt-5.4-mini"
LOCK: Final = "requirements.lock"
LOCK_COMMAND: Final = (
    "uv",
    "pip",
    "compile",
    "pyproject.toml",
    "--generate-hashes",
    "--universal",
    "--python-version",
    "3.11",
    "--output-file",
    LOCK,
)
"""Makes the lock, in the project's folder. Universal: the image, the CI and every machine read the same file."""

_PROJECT: Final = Path(__file__).parent / "project"
_NAME: Final = "my-agent"
_MODEL_VERSION: Final = "2026-03-17"
"""Of the default model, in `infra`; for another one Azure chooses."""
_MARK: Final = re.compile(r"^(?P<kept>.*?)\s*#\?(?P<needs>(?: !?[a-z]+)*)$")
_SKIPPED: Final = frozenset({"__pycache__", ".ruff_cache", ".pytest_cache"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The choices for a project.

    Args:
        name: Of the project, of the agent and of its azd service: lower case, digits and hyphens.
        model: The model, and the name of its deployment.
        provider: The provider of the model.
        deployment: How it is deployed.
        features: The features of `main.py`.
        protocols: Further protocols that it serves.
        brings_wheel: Whether `hostedagent` is a wheel in the project's folder `wheels`, and in no package index. It is
            the mark `wheel`.
    """

    name: str
    model: str = DEFAULT_MODEL
    provider: Provider = "foundry"
    deployment: Deployment = "container"
    features: frozenset[Feature] = frozenset({"tools"})
    protocols: frozenset[Protocol] = frozenset()
    brings_wheel: bool = False


def render(choices: Choices) -> dict[str, str]:
    """The project's files but its lock: path below the project's folder, with slashes, to text.

    Raises:
        FileNotFoundError: The installation has no `infra` folder.
    """
    release = version("hostedagent")
    return {
        name: _rendered(path.read_text(encoding="utf-8"), choices, release)
        for name, path in sorted(_sources())
        if _FILES.get(name, choices.deployment) == choices.deployment
    }


def _sources() -> Iterator[tuple[str, Path]]:
    shipped = _PROJECT / "infra"
    infra = shipped if shipped.is_dir() else Path(__file__).parents[3] / "infra"
    if not (infra / "main.bicep").is_file():
        raise FileNotFoundError(f"{infra / 'main.bicep'} is missing: install hostedagent again.")
    for folder, prefix in ((_PROJECT, ""), (infra, "infra/")):
        for path in folder.rglob("*"):
            inner = path.relative_to(folder)
            if path.is_file() and not _SKIPPED & set(inner.parts) and (prefix or inner.parts[0] != "infra"):
                yield prefix + inner.as_posix(), path


def _rendered(text: str, choices: Choices, release: str) -> str:
    wheel = {"wheel"} if choices.brings_wheel else frozenset[str]()
    marks = choices.features | choices.protocols | {choices.provider, choices.deployment} | wheel
    chosen = "".join(f"{line}\n" for line in _chosen(text.splitlines(), marks))
    if choices.model != DEFAULT_MODEL:
        chosen = chosen.replace(f"`{_MODEL_VERSION}`", "Azure's choice").replace(_MODEL_VERSION, "")
    if choices.deployment == "code":
        chosen = chosen.replace(_REGISTRY, _REGISTRY.replace("true", "false"))
    for placeholder, value in (
        (_NAME, choices.name),
        (DEFAULT_MODEL, choices.model),
        ("LOCK_COMMAND", " ".join(LOCK_COMMAND)),
        ("HOSTEDAGENT_VERSION", release),
    ):
        chosen = chosen.replace(placeholder, value)
    return chosen


def _chosen(lines: list[str], marks: frozenset[str]) -> Iterator[str]:
    in_block = True
    for line in lines:
        mark = _MARK.fullmatch(line)
        holds = mark is None or _holds(mark["needs"].split(), marks)
        if mark is not None and not mark["kept"]:
            in_block = holds
        elif holds and in_block:
            yield line if mark is None else mark["kept"]


def _holds(needs: list[str], marks: frozenset[str]) -> bool:
    return all((need.lstrip("!") in marks) is not need.startswith("!") for need in needs)
