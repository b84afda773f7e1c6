"""Checks of the agent: that it can be loaded as `hostedagent run` does; and of the lock that its image installs."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from hostedagent.cli.doctor.azure_yaml import PROTOCOL, declared
from hostedagent.cli.doctor.environment import setting
from hostedagent.cli.doctor.project import Project
from hostedagent.cli.doctor.rules import Finding, Rule
from hostedagent.cli.loader import USUAL_NAMES
from hostedagent.cli.port import DEFAULT_PORT
from hostedagent.protocol.values import fields_of, rows_of
from hostedagent.templates import LOCK, LOCK_COMMAND

TIMEOUT: Final = 60.0
"""Seconds in which an agent must be loaded."""

_PIN: Final = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)
_NAME: Final = r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+"
_LACKED: Final = re.compile(rf"\b({_NAME})\b.*\b(?:not set|missing|required)\b")
_NO_KEY: Final = re.compile(rf"KeyError: '({_NAME})'")
_RUNS_ON_LOOPBACK: Final = re.compile(r"\.run\([^)]*\bhost\s*=\s*[\"'](127\.[\d.]+|localhost|::1)[\"']")
_RELOCK: Final = shlex.join(LOCK_COMMAND)

AGENT_NONE: Final = Rule(
    "agent.none",
    "error",
    f"{{folder}} has no {USUAL_NAMES}.",
    "hostedagent doctor {folder} --agent MODULE_OR_FILE[:NAME]",
)
AGENT_TARGET: Final = Rule("agent.target", "error", "{message}", "hostedagent run {target}")
AGENT_RAISES: Final = Rule(
    "agent.raises", "error", "{target} raised while it was loaded: {message}", "hostedagent run {target}"
)
AGENT_UNSET: Final = Rule("agent.unset", AGENT_RAISES.level, AGENT_RAISES.says, "{command}")
AGENT_ENDS: Final = Rule(
    "agent.ends", "error", "{target} ended the process with code {code} while it was loaded.", "python {file}"
)
AGENT_HANGS: Final = Rule(
    "agent.hangs", "error", "{target} was not loaded after {seconds:g} seconds.", "python -X importtime {file}"
)
AGENT_LOOPBACK: Final = Rule(
    "agent.loopback",
    "warning",
    "{file} binds {address} in its run(): python {file} cannot be reached from outside its container.",
    "In {file} write: run() without host=",
)
AGENT_PROTOCOL: Final = Rule(
    "agent.protocol",
    "error",
    "azure.yaml declares the protocol {protocol}, which {target} does not serve.",
    "In {file} write: AgentHost(agent, doors=[Invocations()])",
)
AGENT_UNDECLARED: Final = Rule(
    "agent.undeclared",
    "warning",
    "{target} serves the protocol {protocol}, which azure.yaml does not declare: Foundry forwards no such request.",
    "In azure.yaml write below protocols: {{protocol: {protocol}, version: " + PROTOCOL + "}}",
)
LOCK_MISSING: Final = Rule("lock.missing", "error", f"There is no {LOCK}: the image installs nothing else.", _RELOCK)
LOCK_OPEN: Final = Rule("lock.unhashed", "error", f"{LOCK} has no hash for {{names}}.", _RELOCK)
LOCK_STALE: Final = Rule(
    "lock.stale", "error", f"pyproject.toml asks for {{requirement}}, and {LOCK} has {{locked}}.", _RELOCK
)


def loads(project: Project) -> Iterator[Finding]:
    """The agent, loaded in a process of its own."""
    target = project.target
    if target is None:
        yield AGENT_NONE.found(folder=project.folder)
        return
    source = re.sub(r"(\.py):.*", r"\1", target)
    file = shlex.quote(source)
    if bound := _RUNS_ON_LOOPBACK.search(project.text(source) or ""):
        yield AGENT_LOOPBACK.found(file=source, address=bound[1])
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "hostedagent.cli.doctor.probe", target, str(result)]
        try:
            ended = subprocess.run(
                command,
                cwd=project.folder,
                env={**project.local, "PORT": str(DEFAULT_PORT)},  # A wrong port is a finding of its own.
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            yield AGENT_HANGS.found(target=target, seconds=TIMEOUT, file=file)
            return
        if not result.is_file():
            yield AGENT_ENDS.found(target=target, code=ended.returncode, file=file)
            return
        said: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    match said["kind"]:
        case "target":
            yield AGENT_TARGET.found(message=said["message"], target=target)
        case "raises":
            message = said["message"].splitlines()[-1]
            if name := _unset(said["message"], project):
                yield AGENT_UNSET.found(target=target, message=message, command=setting(project, name))
            else:
                yield AGENT_RAISES.found(target=target, message=message)
        case _:
            yield from _protocols(project, target, file, said["paths"])


def _protocols(project: Project, target: str, file: str, paths: Sequence[str]) -> Iterator[Finding]:
    """Compare the served protocols with the declared ones, if the project has one agent."""
    if len(project.agents) != 1:
        return
    known = declared(project.agents[0])
    for protocol in ("invocations", "invocations_ws"):
        is_served = f"/{protocol}" in paths
        if protocol in known and not is_served:
            yield AGENT_PROTOCOL.found(target=target, protocol=protocol, file=file)
        elif is_served and protocol not in known:
            yield AGENT_UNDECLARED.found(target=target, protocol=protocol)


def lock(project: Project) -> Iterator[Finding]:
    """The lock: there, hashed, and of the `pyproject.toml` that is there. Only for projects with a Dockerfile."""
    if project.text("Dockerfile") is None:
        return
    text = project.text(LOCK)
    if text is None:
        yield LOCK_MISSING.found()
        return
    pinned = {canonicalize_name(name): locked for name, locked in _PIN.findall(text)}
    if unhashed := [name for name in pinned if not _is_hashed(name, text)]:
        yield LOCK_OPEN.found(names=", ".join(unhashed))
    for requirement in _asked(project.text("pyproject.toml")):
        locked = pinned.get(canonicalize_name(requirement.name))
        if locked is None or not requirement.specifier.contains(locked, prereleases=True):
            yield LOCK_STALE.found(requirement=requirement, locked=locked or "nothing of that name")


def _unset(traceback: str, project: Project) -> str | None:
    """The variable that an error says is not set, where it is not."""
    message = traceback.splitlines()[-1]
    said = _LACKED.search(message) or (_NO_KEY.fullmatch(message) if "environ" in traceback else None)
    return said[1] if said is not None and not project.local.get(said[1]) else None


def _is_hashed(name: str, text: str) -> bool:
    after = next(text[pin.end() :] for pin in _PIN.finditer(text) if canonicalize_name(pin[1]) == name)
    following = _PIN.search(after)
    return "--hash=" in (after[: following.start()] if following else after)


def _asked(text: str | None) -> Iterator[Requirement]:
    try:
        read: dict[str, Any] = tomllib.loads(text or "")
    except tomllib.TOMLDecodeError:
        return
    for line in rows_of(fields_of(read.get("project")).get("dependencies")):
        try:
            requirement = Requirement(str(line))
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement
